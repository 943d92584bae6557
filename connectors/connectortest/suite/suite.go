// Package suite is what package connectortest runs, without package testing: the cases, and who runs them. A test
// runs them with its *testing.T; countersign connector test with a Runner's Case.
package suite

import "context"

// TB is what an application in a test needs of the test: to end it, to clean up after it, to write to its log.
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

// T runs cases within a case. Package connectortest makes one of a *testing.T; a Runner's Case is another.
type T interface {
	TB
	Parallel()
	Run(name string, f func(T)) bool
}
