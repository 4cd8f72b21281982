package main

import (
	"context"
	"log"
	"time"

	"github.com/atomix/api/proto/atomix/protocols/raft"
	"github.com/atomix/go-client/pkg/client"
)

func main() {
	// The client tries until the group's pods answer, whatever its context says.
	time.AfterFunc(2*time.Minute, func() { log.Fatal("the group does not answer") })
	ctx := context.Background()

	atomix, err := client.NewClient(
		"atomix-controller.kube-system.svc.cluster.local:5679",
		client.WithNamespace("default"), client.WithApplication("example"))
	check(err)
	timeout := 5 * time.Second
	group, err := atomix.CreateGroup(ctx, "locks", 1, 1, &raft.RaftProtocol{ElectionTimeout: &timeout})
	check(err)
	log.Printf("group %s has %d partition", group.Name, group.Partitions)

	lock, err := group.GetLock(ctx, "first")
	check(err)
	version, err := lock.Lock(ctx)
	check(err)
	log.Printf("locked, version %d", version)
	_, err = lock.Unlock(ctx)
	check(err)
	log.Print("unlocked")
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
