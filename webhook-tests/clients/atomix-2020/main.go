// Command atomix-2020 is Atomix as it was in January 2020, from its public
// modules: a client of the controller, a client that takes a lock, and a node
// of one member.
//
//	atomix-2020 create SERVER NAMESPACE GROUP PARTITIONS SIZE PROTOCOL OPTIONS
//	atomix-2020 get    SERVER NAMESPACE GROUP
//	atomix-2020 list   SERVER NAMESPACE
//	atomix-2020 delete SERVER NAMESPACE GROUP
//	atomix-2020 lock   SERVER NAMESPACE GROUP LOCK
//	atomix-2020 node   ID PARTITION.JSON PROTOCOL.JSON
//
// PROTOCOL is raft or log, OPTIONS its message in the JSON of protobuf. All but node
// print one line of JSON: what the client made of the answer, and what was in
// it; or the status of a call that failed, which is no failure of the command.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// patience bounds everything but a node: this client tries for ever.
const patience = 2 * time.Minute

// A command has a number of arguments and what it does with them. What it
// returns is printed.
type command struct {
	arguments []string
	run       func(arguments []string) (any, error)
	// Whether what fails is a call, whose status is a result.
	calls bool
}

var commands = map[string]command{
	"create": {[]string{"SERVER", "NAMESPACE", "GROUP", "PARTITIONS", "SIZE", "PROTOCOL", "OPTIONS"}, create, true},
	"get":    {[]string{"SERVER", "NAMESPACE", "GROUP"}, get, true},
	"list":   {[]string{"SERVER", "NAMESPACE"}, list, true},
	"delete": {[]string{"SERVER", "NAMESPACE", "GROUP"}, remove, true},
	"lock":   {[]string{"SERVER", "NAMESPACE", "GROUP", "LOCK"}, lock, true},
	"node":   {[]string{"ID", "PARTITION.JSON", "PROTOCOL.JSON"}, serve, false},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "atomix-2020:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return fmt.Errorf("which command?")
	}
	command, known := commands[arguments[0]]
	if !known {
		return fmt.Errorf("there is no command %s", arguments[0])
	}
	arguments = arguments[1:]
	if len(arguments) != len(command.arguments) {
		return fmt.Errorf("these arguments are needed: %v", command.arguments)
	}
	result, err := command.run(arguments)
	if err != nil && command.calls {
		result, err = failure(err), nil
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// limited ends the program when the client has tried for too long.
func limited() {
	time.AfterFunc(patience, func() {
		fmt.Fprintln(os.Stderr, "atomix-2020: nothing in", patience)
		os.Exit(1)
	})
}
