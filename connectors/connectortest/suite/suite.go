// Package suite is what package connectortest runs, without package testing: the cases, and who runs them. A test
// runs them with its *testing.T; countersign connector test with a Runner's Case.
package suite

import "context"

// T is what a case needs of who runs it. A *testing.T is a T of itself.
type T[X any] interface {
	Name() string
	Context() context.Context
	Helper()
	Parallel()
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
	Run(name string, f func(X)) bool
}
