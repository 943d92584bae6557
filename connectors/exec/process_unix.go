//go:build unix && !linux

package exec

import (
	osexec "os/exec"
	"syscall"
)

const supported = true

// isolate gives the child a process group of its own, and another user where one is named.
func isolate(cmd *osexec.Cmd, user *User) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if user != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: user.UID, Gid: user.GID}
	}
}

// prepareSelf does nothing: other processes of the user can't read this one's environment, or it can't be prevented.
func prepareSelf() error { return nil }

func dropCapabilities() {}

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

// family is unknown here.
func family(int, string) []int { return nil }

// killFamily kills the child's group: what left it isn't known.
func killFamily(pid int, _ string) { killGroup(pid) }

func resident([]int) int64 { return 0 }
