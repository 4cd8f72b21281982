package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/atomix/api/proto/atomix/controller"
	"github.com/atomix/api/proto/atomix/protocols/log"
	"github.com/atomix/api/proto/atomix/protocols/raft"
	"github.com/atomix/go-client/pkg/client"
	"github.com/gogo/protobuf/jsonpb"
	"github.com/gogo/protobuf/proto"
	"github.com/gogo/protobuf/types"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// A group as the client sees it, and as it was in the answer.
type group struct {
	Namespace     string     `json:"namespace"`
	Name          string     `json:"name"`
	Partitions    int        `json:"partitions"`
	PartitionSize int        `json:"partitionSize"`
	Protocol      string     `json:"protocol"`
	Options       any        `json:"options"`
	Endpoints     [][]string `json:"endpoints"`
	IDs           []int32    `json:"ids"`
}

func create(arguments []string) (any, error) {
	limited()
	partitions, err := strconv.Atoi(arguments[3])
	if err != nil {
		return nil, err
	}
	size, err := strconv.Atoi(arguments[4])
	if err != nil {
		return nil, err
	}
	protocol, err := protocol(arguments[5], arguments[6])
	if err != nil {
		return nil, err
	}
	atomix, err := connect(arguments)
	if err != nil {
		return nil, err
	}
	// It gets the group at once, and is not prepared for less than all of it.
	made, err := atomix.CreateGroup(context.Background(), arguments[2], partitions, size, protocol)
	if err != nil {
		return nil, err
	}
	return describe(arguments[0], made)
}

func get(arguments []string) (any, error) {
	limited()
	atomix, err := connect(arguments)
	if err != nil {
		return nil, err
	}
	found, err := atomix.GetGroup(context.Background(), arguments[2])
	if err != nil {
		return nil, err
	}
	return describe(arguments[0], found)
}

func list(arguments []string) (any, error) {
	limited()
	atomix, err := connect(arguments)
	if err != nil {
		return nil, err
	}
	found, err := atomix.GetGroups(context.Background())
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, group := range found {
		names = append(names, group.Namespace+"."+group.Name)
	}
	return names, nil
}

func remove(arguments []string) (any, error) {
	limited()
	atomix, err := connect(arguments)
	if err != nil {
		return nil, err
	}
	return struct{}{}, atomix.DeleteGroup(context.Background(), arguments[2])
}

func connect(arguments []string) (*client.Client, error) {
	return client.NewClient(arguments[0], client.WithNamespace(arguments[1]), client.WithApplication("test"))
}

func protocol(name, options string) (proto.Message, error) {
	var message proto.Message
	switch name {
	case "raft":
		message = &raft.RaftProtocol{}
	case "log":
		message = &log.LogProtocol{}
	default:
		return nil, fmt.Errorf("the client knows no protocol %s", name)
	}
	return message, jsonpb.UnmarshalString(options, message)
}

// describe asks once more, without the client, which does not say where the
// partitions are.
func describe(server string, seen *client.PartitionGroup) (any, error) {
	connection, err := grpc.Dial(server, grpc.WithInsecure())
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	id := &controller.PartitionGroupId{Namespace: seen.Namespace, Name: seen.Name}
	request := &controller.GetPartitionGroupsRequest{ID: id}
	answer, err := controller.NewControllerServiceClient(connection).GetPartitionGroups(context.Background(), request)
	if err != nil {
		return nil, err
	}
	if len(answer.Groups) != 1 {
		return nil, fmt.Errorf("%d groups where the client has found one", len(answer.Groups))
	}
	result := group{
		Namespace:     seen.Namespace,
		Name:          seen.Name,
		Partitions:    seen.Partitions,
		PartitionSize: seen.PartitionSize,
		Protocol:      answer.Groups[0].Spec.Protocol.TypeUrl,
	}
	for _, partition := range answer.Groups[0].Partitions {
		result.IDs = append(result.IDs, partition.PartitionID)
		var endpoints []string
		for _, endpoint := range partition.Endpoints {
			endpoints = append(endpoints, fmt.Sprintf("%s:%d", endpoint.Host, endpoint.Port))
		}
		result.Endpoints = append(result.Endpoints, endpoints)
	}
	var options types.DynamicAny
	if err := types.UnmarshalAny(answer.Groups[0].Spec.Protocol, &options); err != nil {
		return nil, err
	}
	text, err := (&jsonpb.Marshaler{}).MarshalToString(options.Message)
	result.Options = json.RawMessage(text)
	return result, err
}

// failure is the status of a call that failed, or what the client itself says.
func failure(err error) any {
	status, isStatus := status.FromError(err)
	if !isStatus {
		return map[string]any{"client": err.Error()}
	}
	violations := []string{}
	for _, detail := range status.Details() {
		if request, ok := detail.(*errdetails.BadRequest); ok {
			for _, violation := range request.FieldViolations {
				violations = append(violations, violation.Field)
			}
		}
	}
	return map[string]any{"code": status.Code().String(), "message": status.Message(), "fields": violations}
}
