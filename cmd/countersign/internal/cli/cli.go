// Package cli is countersign's command line: flags, wiring and exit codes. A file per command: its options, its help
// and its flags. The packages below do the work, and reconciler/report prints the results.
//
// It is larger than other packages because help texts, starter files and the demo are text, and commands share nothing
// but an invocation.
package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/countersign/countersign/connectors/secrets"
	"github.com/countersign/countersign/reconciler/report"
)

// The exit codes. They are part of the interface.
const (
	exitDone       = 0 // done, nothing pending
	exitError      = 1 // an error, or bad input
	exitDifference = 2 // preview or drift found a difference, with --exit-code
	exitDenied     = 3 // denied by policy
	exitSignoff    = 4 // sign-off missing
	exitPart       = 5 // something failed or is left to do
)

// textWidth is the number of columns of text where standard output is not a terminal.
const textWidth = 80

// Environment is what a command uses of the process, so that tests can replace it.
type Environment struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Now            func() time.Time
	// Random makes keys and the salts of records.
	Random io.Reader
	// Executable finds this program, for the child process that evaluates a repository's own rules.
	Executable func() (string, error)
	Getenv     func(string) string
	// Color and Width describe standard output. Progress reports that standard error is a terminal.
	Color, Progress bool
	Width           int
	// Step is called at each step of an apply; tests kill the process there.
	Step func(string)
}

// System is the process's own environment.
func System() Environment {
	e := Environment{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now, Random: rand.Reader, Executable: os.Executable, Getenv: os.Getenv, Width: textWidth}
	if term.IsTerminal(int(os.Stdout.Fd())) {
		e.Color = os.Getenv("NO_COLOR") == ""
		if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
			e.Width = w
		}
	}
	e.Progress = term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("CI") == ""
	return e
}

// exit is an outcome with its own exit code. err is nil when everything is printed already.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// Run runs one command in the process's own environment and returns its exit code. The first signal stops between
// operations and lets those in progress be recorded; a second one kills.
func Run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop()
	}()
	return Main(ctx, args, System())
}

// Main runs one command and returns its exit code.
func Main(ctx context.Context, args []string, env Environment) int {
	a := &app{Environment: env, format: formatText}
	if len(args) > 0 && args[0] != policyChildCommand {
		defer a.muzzle()()
	}
	a.Stderr = redacting{a.Stderr, a}
	root := newRootCommand(a)
	topics, err := guideTopics()
	if err != nil {
		a.complain(err)
		return exitError
	}
	root.AddCommand(topics...)
	root.SetArgs(args)
	root.SetIn(env.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	err = root.ExecuteContext(ctx)
	a.progressEnd()
	if err == nil {
		return exitDone
	}
	var x *exit
	if errors.As(err, &x) {
		if x.err != nil {
			a.complain(x.err)
		}
		return x.code
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		a.complain(errors.New("interrupted; completed operations are recorded, and the next run continues from there"))
		return exitError
	}
	a.complain(err)
	return exitError
}

// complain prints an error, with text that requesters may have written made harmless.
func (a *app) complain(err error) {
	for i, line := range strings.Split(err.Error(), "\n") {
		prefix := "error: "
		if i > 0 {
			prefix = "       "
		}
		fmt.Fprintln(a.Stderr, prefix+report.Safe(line))
	}
}

// app is one invocation: its environment, and the values of the flags that several commands share.
type app struct {
	Environment
	repo, state, anchor, format, application string
	branchName, ledgerBranch, ledgerAnchor   string
	ledgerKeyFile                            string
	execs, execArgs, execEnv                 []string
	allowed                                  []string // patterns of secrets
	secrets                                  *secrets.Store
	repoNamed, verbose                       bool
	lastProgress                             time.Time
	progressOn                               bool
	// desks are the ticket repositories opened so far, by name and account.
	desks sync.Map
}
