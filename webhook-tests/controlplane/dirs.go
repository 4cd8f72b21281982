package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	memory     = "/dev/shm"
	enough     = 1 << 30 // bytes that are to be free there: /dev/shm of a container may have 64 MiB
	dataPrefix = "webhook-tests-etcd-"
	runPrefix  = "webhook-tests-run-" // of the directories that the harness makes
	lockName   = "lock"
	keepName   = "keep"
)

// locks stay open, and with that locked, until the process ends.
var locks []*os.File

// dataDir makes a directory for etcd: in memory where the system has such a
// file system and room in it, else below dir.
func dataDir(dir string) (string, error) {
	var space syscall.Statfs_t
	if err := syscall.Statfs(memory, &space); err != nil || space.Bavail*uint64(space.Bsize) < enough {
		data := filepath.Join(dir, "data")
		return data, os.MkdirAll(data, 0o700)
	}
	sweep(filepath.Join(memory, dataPrefix+"*"))
	// It gets the name that sweep looks for only when it is locked.
	young, err := os.MkdirTemp(memory, "new-"+dataPrefix)
	if err != nil {
		return "", err
	}
	if err := hold(young); err != nil {
		return "", err
	}
	data := filepath.Join(memory, strings.TrimPrefix(filepath.Base(young), "new-"))
	return data, os.Rename(young, data)
}

// hold locks a directory for the life of this process, if no other process holds it. The
// lock gets its name only when it is locked: sweep would take it for that of a
// dead process before.
func hold(dir string) error {
	name := filepath.Join(dir, lockName)
	if _, err := os.Stat(name); err == nil {
		former, err := lockFile(name)
		if err != nil {
			return err
		}
		defer former.Close()
	}
	young := name + ".new"
	lock, err := lockFile(young)
	if err != nil {
		return err
	}
	locks = append(locks, lock)
	return os.Rename(young, name)
}

// sweep removes what supervisors left behind that were killed and could not.
// The kernel drops the lock of a dead process: a lock that can be had belongs
// to no process.
func sweep(pattern string) {
	found, _ := filepath.Glob(pattern)
	for _, dir := range found {
		if _, err := os.Stat(filepath.Join(dir, lockName)); err != nil {
			continue // not one of ours, or just being made
		}
		if _, err := os.Stat(filepath.Join(dir, keepName)); err == nil {
			continue
		}
		if lock, err := lockFile(filepath.Join(dir, lockName)); err == nil {
			_ = os.RemoveAll(dir)
			_ = lock.Close()
		}
	}
}

func lockFile(name string) (*os.File, error) {
	lock, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return lock, nil
}

// keep asks removeDir to leave the logs.
func keep(dir string) { _ = os.WriteFile(filepath.Join(dir, keepName), nil, 0o600) }

// removeDir removes the directory, but for the logs if they are wanted.
func removeDir(dir string) {
	if _, err := os.Stat(filepath.Join(dir, keepName)); err != nil {
		_ = os.RemoveAll(dir)
		return
	}
	for _, name := range []string{"data", "pki", "kubeconfig", "bin", "home"} {
		_ = os.RemoveAll(filepath.Join(dir, name))
	}
}
