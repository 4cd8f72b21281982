// Command atomix-2019 is Atomix as it was in autumn 2019, from its public
// modules: a node of one member, and a client that takes a lock.
//
//	atomix-2019 node ID PARTITION.JSON PROTOCOL.JSON
//	atomix-2019 lock SERVER NAMESPACE GROUP LOCK
//
// The node takes the arguments of the node images of that time and serves on
// port 5678 until it is killed. The lock is taken and given back at the address
// that the server returns for the group's partition.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/atomix/atomix-api/proto/atomix/controller"
	"github.com/atomix/atomix-api/proto/atomix/protocols/raft"
	"github.com/atomix/atomix-go-client/pkg/client"
	"github.com/atomix/atomix-go-local/pkg/atomix/local"
	"github.com/atomix/atomix-go-node/pkg/atomix"
	"github.com/atomix/atomix-go-node/pkg/atomix/registry"
	"github.com/gogo/protobuf/jsonpb"
	"github.com/gogo/protobuf/proto"
)

// patience bounds everything: this client tries for ever.
const patience = 2 * time.Minute

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "atomix-2019:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	switch {
	case len(arguments) == 4 && arguments[0] == "node":
		return serve(arguments[1], arguments[2], arguments[3])
	case len(arguments) == 5 && arguments[0] == "lock":
		return lock(arguments[1], arguments[2], arguments[3], arguments[4])
	}
	return fmt.Errorf("usage: atomix-2019 node ID PARTITION.JSON PROTOCOL.JSON | lock SERVER NAMESPACE GROUP LOCK")
}

func serve(id, partition, protocol string) error {
	config := &controller.PartitionConfig{}
	if err := read(partition, config); err != nil {
		return err
	}
	member := false
	for _, other := range config.Members {
		member = member || other.ID == id
	}
	if !member {
		return fmt.Errorf("%s is not among the members %v", id, config.Members)
	}
	// The protocol of this node has no options, but Raft nodes read theirs like this.
	if err := read(protocol, &raft.RaftProtocol{}); err != nil {
		return err
	}
	if err := atomix.NewNode(id, config, local.NewProtocol(), registry.Registry).Start(); err != nil {
		return err
	}
	select {}
}

// read is strict, as it was in the nodes: a key that is not known is an error.
func read(name string, message proto.Message) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := jsonpb.Unmarshal(file, message); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func lock(server, namespace, group, name string) error {
	time.AfterFunc(patience, func() {
		fmt.Fprintln(os.Stderr, "atomix-2019: no lock in", patience)
		os.Exit(1)
	})
	ctx := context.Background()
	atomix, err := client.NewClient(server, client.WithNamespace(namespace), client.WithApplication("test"))
	if err != nil {
		return err
	}
	found, err := atomix.GetGroup(ctx, group)
	if err != nil {
		return err
	}
	lock, err := found.GetLock(ctx, name)
	if err != nil {
		return err
	}
	version, err := lock.Lock(ctx)
	if err != nil {
		return err
	}
	locked, err := lock.IsLocked(ctx)
	if err != nil {
		return err
	}
	unlocked, err := lock.Unlock(ctx)
	if err != nil {
		return err
	}
	result := map[string]any{"version": version, "locked": locked, "unlocked": unlocked}
	return json.NewEncoder(os.Stdout).Encode(result)
}
