package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

// guardSignals are the words that a guard understands on its standard input.
var guardSignals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM,
	"INT":  syscall.SIGINT,
	"KILL": syscall.SIGKILL,
	"STOP": syscall.SIGSTOP,
	"CONT": syscall.SIGCONT,
	"HUP":  syscall.SIGHUP,
	"QUIT": syscall.SIGQUIT,
}

// runGuard starts a command that ends when the guard's standard input does.
//
// Whoever holds the other end of that pipe may die in any way, SIGKILL
// included: the kernel closes the pipe and the command ends with it. The guard
// prints the command's process id as one line of JSON, passes SIGTERM and
// SIGINT on, sends the signals that it reads by name (one a line) from its
// standard input, and ends with the command's exit code, or with 128 plus the
// number of the signal that ended it.
func runGuard() {
	flags := flag.NewFlagSet("guard", flag.ExitOnError)
	log := flags.String("log", "", "append the command's output to this file instead of standard error")
	_ = flags.Parse(os.Args[1:])
	if flags.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: controlplane guard [--log FILE] -- COMMAND [ARGUMENTS]")
		os.Exit(2)
	}
	os.Exit(guard(flags.Args(), *log))
}

func guard(arguments []string, log string) int {
	command := prepare(exec.Command(arguments[0], arguments[1:]...))
	output := os.Stderr
	if log != "" {
		file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			fmt.Fprintln(os.Stderr, "guard:", err)
			return 2
		}
		defer file.Close()
		output = file
	}
	command.Stdout, command.Stderr = output, output

	passed := make(chan os.Signal, 4)
	signal.Notify(passed, syscall.SIGTERM, syscall.SIGINT)
	if err := command.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "guard:", err)
		return 127
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]int{"pid": command.Process.Pid})

	go func() {
		for received := range passed {
			_ = command.Process.Signal(received)
		}
	}()
	go func() {
		words := bufio.NewScanner(os.Stdin)
		for words.Scan() {
			if wanted, known := guardSignals[strings.TrimSpace(words.Text())]; known {
				_ = command.Process.Signal(wanted)
			}
		}
		_ = command.Process.Kill()
	}()

	err := command.Wait()
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "guard:", err)
		return 1
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}
