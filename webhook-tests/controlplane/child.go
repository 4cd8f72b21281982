package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// prepare makes a child that neither outlives this process nor gets the
// terminal: a Ctrl-C goes to the whole foreground process group, and children
// that end on their own would look like crashes to the one who supervises them.
func prepare(command *exec.Cmd) *exec.Cmd {
	command.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,
		Pdeathsig: syscall.SIGKILL,
	}
	return command
}

// tail returns the last lines of a file, for messages about why a child ended.
func tail(path string, lines int) string {
	const most = 64 << 10
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > most {
		_, _ = file.Seek(-most, io.SeekEnd)
	}
	content, err := io.ReadAll(file)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimRight(content, "\n"), []byte("\n"))
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return string(bytes.Join(all, []byte("\n")))
}
