package exec

import (
	"errors"
	"fmt"
	osexec "os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

const supported = true

// isolate gives the child a session and a process group of its own, and another user where one is named, and lets it
// die with this program.
func isolate(cmd *osexec.Cmd, user *User) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if user != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: user.UID, Gid: user.GID}
	}
}

// limitMemory bounds a process's data (RLIMIT_DATA): private writable memory. Processes that it starts later inherit
// the limit, each for itself. The process has had no request yet.
func limitMemory(pid int, limit int64) error {
	data := unix.Rlimit{Cur: uint64(limit), Max: uint64(limit)}
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, &data, nil); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("prlimit: %w", err)
	}
	// A core file would contain the secrets.
	if err := unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("prlimit: %w", err)
	}
	return nil
}

// reap waits for the child's exit. before runs while the process id is still reserved.
func reap(cmd *osexec.Cmd, before func()) error {
	for {
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	before()
	return cmd.Wait()
}

// killGroup kills a process and all in its group.
func killGroup(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) } // ESRCH: all are gone
