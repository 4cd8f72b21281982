package main

import (
	"context"
	"fmt"
	"os"

	"github.com/atomix/api/proto/atomix/controller"
	"github.com/atomix/api/proto/atomix/protocols/raft"
	"github.com/atomix/go-framework/pkg/atomix"
	"github.com/atomix/go-framework/pkg/atomix/registry"
	"github.com/atomix/go-local/pkg/atomix/local"
	"github.com/gogo/protobuf/jsonpb"
	"github.com/gogo/protobuf/proto"
)

// serve is a node: it takes the arguments of the node images and serves on port
// 5678 until it is killed.
func serve(arguments []string) (any, error) {
	config := &controller.PartitionConfig{}
	if err := read(arguments[1], config); err != nil {
		return nil, err
	}
	member := false
	for _, other := range config.Members {
		member = member || other.ID == arguments[0]
	}
	if !member {
		return nil, fmt.Errorf("%s is not among the members %v", arguments[0], config.Members)
	}
	// The protocol of this node has no options, but Raft nodes read theirs like this.
	if err := read(arguments[2], &raft.RaftProtocol{}); err != nil {
		return nil, err
	}
	if err := atomix.NewNode(arguments[0], config, local.NewProtocol(), registry.Registry).Start(); err != nil {
		return nil, err
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

// lock takes and gives back a lock, at the address that the server returns for
// the group's partition.
func lock(arguments []string) (any, error) {
	limited()
	ctx := context.Background()
	atomix, err := connect(arguments)
	if err != nil {
		return nil, err
	}
	found, err := atomix.GetGroup(ctx, arguments[2])
	if err != nil {
		return nil, err
	}
	lock, err := found.GetLock(ctx, arguments[3])
	if err != nil {
		return nil, err
	}
	version, err := lock.Lock(ctx)
	if err != nil {
		return nil, err
	}
	locked, err := lock.IsLocked(ctx)
	if err != nil {
		return nil, err
	}
	unlocked, err := lock.Unlock(ctx)
	return map[string]any{"version": version, "locked": locked, "unlocked": unlocked}, err
}
