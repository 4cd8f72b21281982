package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// runUp is the supervisor: it starts a control plane below a directory, prints
// one line of JSON when it is ready, and ends it together with itself.
//
// It ends when its standard input does: the pipe is held by whoever uses the
// control plane, and the kernel closes it however that process dies. The
// directory goes with it; a file `keep` in it keeps everything but the data.
func runUp() {
	flags := flag.NewFlagSet("up", flag.ExitOnError)
	dir := flags.String("dir", "", "directory of this control plane; it is created, and removed at the end")
	patience := flags.Duration("timeout", 2*time.Minute, "how long it may take to become ready")
	certificate := flags.String("webhook-client-certificate", "", "file with the certificate that the API server shows to webhooks")
	key := flags.String("webhook-client-key", "", "file with its key")
	dualStack := flags.Bool("dual-stack", false, "whether Services can have addresses of both families")
	_ = flags.Parse(os.Args[1:])
	if *dir == "" || flags.NArg() != 0 || (*certificate == "") != (*key == "") {
		fmt.Fprintln(os.Stderr, "usage: controlplane up --dir DIR [--timeout DURATION]"+
			" [--webhook-client-certificate FILE --webhook-client-key FILE] [--dual-stack]")
		os.Exit(2)
	}
	ranges := serviceRange
	if *dualStack {
		ranges += "," + serviceRangeIPv6
	}
	if err := up(*patience, &layout{dir: *dir, toWebhooks: clientPair{*certificate, *key}, serviceRanges: ranges}); err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

// errStopped is the cause of an orderly end: a signal, or the end of the input.
var errStopped = errors.New("told to stop")

func up(patience time.Duration, place *layout) error {
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	go endWithInput(end)

	dir, err := filepath.Abs(place.dir)
	if err != nil {
		return err
	}
	place.dir = dir
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o700); err != nil {
		return err
	}
	if err := hold(dir); err != nil {
		return fmt.Errorf("%s is in use: %w", dir, err)
	}
	sweep(filepath.Join(filepath.Dir(dir), runPrefix+"*"))
	defer removeDir(dir)
	if place.data, err = dataDir(dir); err != nil {
		return err
	}
	defer os.RemoveAll(place.data)

	supervised := &supervisor{place: place, end: end}
	// Runs before the directories go: deferred calls run last in, first out.
	defer supervised.stop()

	err = bringUp(ctx, supervised, patience)
	if err == nil {
		<-ctx.Done()
	}
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, errStopped) {
			return nil
		}
		// Why a component died says more than what its death made fail.
		err = cause
	}
	keep(dir)
	return err
}

// endWithInput waits for the end of the input or a signal.
func endWithInput(end context.CancelCauseFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		<-signals
		end(errStopped)
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
	end(errStopped)
}

func bringUp(ctx context.Context, supervised *supervisor, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	place := supervised.place
	keys, err := generatePKI(place.file("pki"))
	if err != nil {
		return err
	}
	place.keys = keys
	for _, port := range []*int{&place.etcdPort, &place.etcdPeerPort, &place.apiPort, &place.managerPort, &place.schedulerPort} {
		if *port, err = freePort(); err != nil {
			return err
		}
	}
	if err := place.write(); err != nil {
		return err
	}

	for _, part := range []component{place.store(), place.apiServer()} {
		if err := supervised.start(part); err != nil {
			return err
		}
	}
	api, err := connect(place.kubeconfig())
	if err != nil {
		return err
	}
	if err := api.healthy(ctx, place.server()+"/readyz"); err != nil {
		return err
	}
	// Node objects first: kwok and the scheduler then find them in their first
	// list instead of after it.
	if err := poll(ctx, "nodes", api.furnish); err != nil {
		return err
	}
	for _, part := range place.clients() {
		if err := supervised.start(part); err != nil {
			return err
		}
	}
	if err := api.healthy(ctx, loopback("https", place.managerPort)+"/healthz"); err != nil {
		return err
	}
	if err := api.healthy(ctx, loopback("https", place.schedulerPort)+"/readyz"); err != nil {
		return err
	}
	if err := api.settled(ctx); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{
		"dir":        place.dir,
		"kubeconfig": place.kubeconfig(),
		"server":     place.server(),
		"auditLog":   place.auditLog(),
	})
}

// supervisor holds the children.
type supervisor struct {
	place    *layout
	end      context.CancelCauseFunc
	children []*exec.Cmd
	done     []chan struct{}
}

// start must be called from main: see the comment at LockOSThread.
func (s *supervisor) start(part component) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.place.log(part.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	child := prepare(exec.Command(self, append([]string{part.name}, part.args...)...))
	child.Dir = s.place.dir
	child.Stdout, child.Stderr = log, log
	if err := child.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", part.name, err)
	}
	done := make(chan struct{})
	s.children = append(s.children, child)
	s.done = append(s.done, done)
	go func() {
		defer close(done)
		err := child.Wait()
		// After an orderly end this comes second and is ignored.
		s.end(fmt.Errorf("%s ended by itself (%v); the end of its log:\n%s",
			part.name, err, tail(s.place.log(part.name), 25)))
	}()
	return nil
}

// stop ends the children the quick way: nothing of theirs is needed any more.
func (s *supervisor) stop() {
	s.end(errStopped)
	for _, child := range s.children {
		_ = child.Process.Kill()
	}
	for _, done := range s.done {
		<-done
	}
}

// claims stay open until the process ends: one that is collected is closed.
var claims []net.Listener

// freePort picks a port below the range from which the kernel takes the local
// ports of outgoing connections: one of those could take it before its
// component listens. It is above those that the tests promise to others, which
// need not listen yet either, and it is claimed as those are, in unique.rs: by a
// name in the kernel that goes with this process.
func freePort() (int, error) {
	for range 200 {
		port := 22000 + rand.IntN(10000)
		claim, err := net.Listen("unix", fmt.Sprintf("@webhook-tests/port/%d", port))
		if err != nil {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			_ = claim.Close()
			continue
		}
		claims = append(claims, claim)
		return port, listener.Close()
	}
	return 0, errors.New("no free port between 22000 and 32000")
}
