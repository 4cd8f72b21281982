// Command controlplane is a whole Kubernetes control plane in one binary. kubectl lies beside it.
//
// The first argument, or the name under which the binary was started, selects
// the component: etcd, kube-apiserver, kube-controller-manager,
// kube-scheduler or kwok. Each component still runs as a process of its own, as
// upstream builds it. Two commands are ours: `up` starts them all and ends them
// together, `guard` ties another process to the life of the one that started it.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// commands are the names that select what this binary is.
var commands map[string]func()

func init() {
	// The kernel ends a child with PR_SET_PDEATHSIG when the thread that
	// started it ends, not the process. Goroutines move between threads, so
	// main keeps the main thread, which lives as long as the process, and only
	// main starts children.
	runtime.LockOSThread()

	commands = map[string]func(){
		"etcd":                    runEtcd,
		"kube-apiserver":          runAPIServer,
		"kube-controller-manager": runControllerManager,
		"kube-scheduler":          runScheduler,
		"kwok":                    runKwok,
		"up":                      runUp,
		"guard":                   runGuard,
	}
}

func main() {
	run, known := commands[filepath.Base(os.Args[0])]
	if !known && len(os.Args) > 1 {
		// The components read os.Args: the selector takes the place of the
		// program's name.
		if run, known = commands[os.Args[1]]; known {
			os.Args = os.Args[1:]
		}
	}
	if !known {
		names := make([]string, 0, len(commands))
		for name := range commands {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "usage: controlplane COMMAND [ARGUMENTS]\n\ncommands: %v\n", names)
		os.Exit(2)
	}
	run()
}
