//go:build unix && !linux

package exec

import (
	osexec "os/exec"
	"syscall"
)

const supported = true

// isolate gives the child a process group of its own.
func isolate(cmd *osexec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// limitMemory does nothing: a running process can't be given a limit.
func limitMemory(int, int64) error { return nil }

// reap waits for the child's end, then runs before.
func reap(cmd *osexec.Cmd, before func()) error {
	err := cmd.Wait()
	before()
	return err
}

// killGroup kills a process and all in its group.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) } // ESRCH: all are gone

// groupSize is unknown here.
func groupSize(int) int { return 0 }
