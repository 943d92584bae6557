package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/countersign/countersign/cmd/countersign/internal/cli"
)

// TestMain lets the test binary stand in for countersign: for scripts, for the child that evaluates own
// rules, and for runs that are killed.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_BE_COUNTERSIGN") != "" || (len(os.Args) > 1 && os.Args[1] == "policy-child") {
		countersign()
	}
	// The secrets that the tests' applications may use.
	if err := os.Setenv("COUNTERSIGN_SECRETS", "TEST_*,FOUR_*,/*"); err != nil {
		panic(err)
	}
	testscript.Main(cleaned{m}, map[string]func(){"countersign": countersign})
}

// cleaned removes the folder of ofProcess after the tests.
type cleaned struct{ *testing.M }

func (m cleaned) Run() int {
	code := m.M.Run()
	if dir, err := ofProcess(); err != nil || os.RemoveAll(dir) != nil {
		fmt.Fprintln(os.Stderr, "the tests' folder can't be removed:", dir, err)
		return max(code, 1)
	}
	return code
}

// ofProcess is a folder for what several tests use and none changes.
var ofProcess = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "countersign-test-") })

// countersign is main with what tests need: TEST_NOW stops the clock, TEST_DIE_AT=n kills the process with
// no chance to clean up at the n-th step of an apply.
func countersign() {
	env := cli.System()
	env.Executable = testExecutable
	if s := os.Getenv("TEST_NOW"); s != "" {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			panic(err)
		}
		env.Now = func() time.Time { return at }
		env.Random = rand.NewChaCha8([32]byte{}) // so that hashes are the same each time
	}
	if s := os.Getenv("TEST_DIE_AT"); s != "" {
		left, err := strconv.Atoi(s)
		if err != nil {
			panic(err)
		}
		env.Step = func(string) {
			if left--; left == 0 {
				if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
					panic(err)
				}
				select {}
			}
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(cli.Main(ctx, os.Args[1:], env))
}

// testExecutable is the test binary under the name that makes it countersign.
func testExecutable() (string, error) {
	if p, err := exec.LookPath("countersign"); err == nil {
		return p, nil
	}
	return os.Executable()
}
