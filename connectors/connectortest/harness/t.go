// Package harness is shared by the conformance suite and the fault table: the configuration of a connector and its
// application, and a fixture with the connector opened on it. It doesn't import package testing, so that a program
// can run the cases too.
package harness

import "context"

// TB is the part of a test that an application needs: to end it, to clean up after it, to write to its log.
// *testing.T and *testing.B are TBs.
type TB interface {
	Name() string
	Context() context.Context
	Helper()
	Cleanup(func())
	TempDir() string
	Logf(format string, args ...any)
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Skip(args ...any)
	Skipf(format string, args ...any)
	Failed() bool
}

// T runs cases within a case. Package connectortest wraps a *testing.T; a Runner's Case is another implementation.
type T interface {
	TB
	Parallel()
	Run(name string, f func(T)) bool
}
