package exec

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// prepareSelf keeps connectors from reading this process's environment and memory in /proc, where the secrets of other
// applications are, and makes what they leave behind ours to end: an orphan becomes a child of this process.
func prepareSelf() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl(PR_SET_DUMPABLE)", err)
	}
	return os.NewSyscallError("prctl(PR_SET_CHILD_SUBREAPER)", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// dropCapabilities keeps a child that runs as root from what reads the memory of other processes. The caller is locked
// to its thread, which must not be used for anything else afterwards. Other users have none of them, and can't drop any.
func dropCapabilities() {
	if os.Geteuid() != 0 {
		return
	}
	for _, c := range []uintptr{unix.CAP_SYS_PTRACE, unix.CAP_SYS_ADMIN, unix.CAP_SYS_RAWIO, unix.CAP_SYS_MODULE, unix.CAP_PERFMON, unix.CAP_BPF} {
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0) // in a container, it may be gone, or not ours to drop
	}
}

// stat has the fields of proc_pid_stat(5) that are used here.
type stat struct {
	state                  byte
	parent, group, session int
}

func statOf(pid int) (s stat, ok bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return s, false
	}
	// The name, in parentheses, may hold anything; then come state, ppid, pgrp and session.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 4 {
		return s, false
	}
	numbers := make([]int, 3)
	for i := range numbers {
		if numbers[i], err = strconv.Atoi(string(fields[i+1])); err != nil {
			return s, false
		}
	}
	return stat{fields[0][0], numbers[0], numbers[1], numbers[2]}, true
}

// childrenOf returns the children of a process: from its own list where the kernel has it, which costs nothing, and by
// looking at all processes elsewhere.
func childrenOf(pid int) []int {
	tasks, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return nil // it ended
	}
	var out []int
	for _, task := range tasks {
		list, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "task", task.Name(), "children"))
		if err != nil {
			if _, missing := os.Stat("/proc/self/task/" + strconv.Itoa(os.Getpid()) + "/children"); missing != nil {
				return childrenByParent(pid)
			}
			continue // the thread ended
		}
		for _, f := range strings.Fields(string(list)) {
			if n, err := strconv.Atoi(f); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

func childrenByParent(pid int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			if s, ok := statOf(n); ok && s.parent == pid {
				out = append(out, n)
			}
		}
	}
	return out
}

// family returns a child's process and all that it started, without those that only wait to be collected: also what left
// its group or session, or lost its parent and so became a child of this process. mark is in the environment that the
// child was started with.
func family(pid int, mark string) []int {
	var out []int
	add := func(n int) bool {
		s, ok := statOf(n)
		if !ok || slices.Contains(out, n) {
			return false
		}
		if s.state == 'Z' || s.state == 'X' {
			if n != pid {
				collect(n)
			}
			return false
		}
		out = append(out, n)
		return true
	}
	add(pid)
	for _, n := range childrenOf(os.Getpid()) {
		if s, ok := statOf(n); ok && n != pid && (s.group == pid || s.session == pid || marked(n, mark)) {
			add(n)
		}
	}
	for i := 0; i < len(out); i++ {
		for _, n := range childrenOf(out[i]) {
			add(n)
		}
	}
	// A child that ended is still there until it was waited for, and so are its children's groups.
	if len(out) == 0 || out[0] != pid {
		for _, n := range childrenOf(pid) {
			add(n)
		}
	}
	return out
}

func marked(pid int, mark string) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return err == nil && slices.Contains(strings.Split(string(env), "\x00"), mark)
}

// collect waits for an orphan that ended.
func collect(pid int) {
	if s, ok := statOf(pid); ok && s.parent == os.Getpid() {
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // somebody else's child, or collected already
	}
}

// killFamily kills a child and all that it started, also meanwhile.
func killFamily(pid int, mark string) {
	killGroup(pid)
	for range 100 {
		all := family(pid, mark)
		if len(all) == 0 {
			return
		}
		for _, n := range all {
			_ = unix.Kill(n, syscall.SIGKILL) // it may have ended
		}
	}
}

// resident returns how many bytes of memory processes use together.
func resident(pids []int) int64 {
	var pages int64
	for _, pid := range pids {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
		if err != nil {
			continue
		}
		if f := strings.Fields(string(text)); len(f) > 1 {
			n, _ := strconv.ParseInt(f[1], 10, 64) // 0 for what isn't a number
			pages += n
		}
	}
	return pages * int64(os.Getpagesize())
}
