package policy

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// limitMemory limits the private writable memory of this process. Address space (RLIMIT_AS) would be the wrong
// measure, because Go reserves much more of it than it uses.
func limitMemory(limit int64) error {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_DATA, &now); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	used, err := dataInUse()
	if err != nil {
		return err
	}
	// Leave room for the program's initial data and for memory that the runtime maps but does not use: it grows the
	// heap in steps of 64 MiB.
	bound := min(used+uint64(limit)+128<<20, now.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: bound, Max: bound}); err != nil {
		return fmt.Errorf("setrlimit: %w", err)
	}
	return nil
}

// dataInUse returns the memory that currently counts towards RLIMIT_DATA: proc_pid_statm(5), field data.
func dataInUse() (uint64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 6 {
		return 0, fmt.Errorf("/proc/self/statm has %d fields", len(fields))
	}
	pages, err := strconv.ParseUint(fields[5], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/self/statm: %w", err)
	}
	return pages * uint64(os.Getpagesize()), nil
}

// cpuTime returns the CPU time that this process has used.
func cpuTime() (time.Duration, bool) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}

// die ends the process at once, because its work may never end on its own.
func die() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }
