package connectors

import (
	"errors"
	"fmt"
	"time"
)

// Code classifies what went wrong in an application. It is part of the ledger's and the JSON output's
// interface.
type Code string

// The codes.
const (
	NotFound    Code = "not_found"   // something that the operation needs does not exist
	Conflict    Code = "conflict"    // it exists but differs from what was expected; somebody else may be writing
	Unsupported Code = "unsupported" // the application can't do this
	Denied      Code = "denied"      // the credential lacks the right
	Invalid     Code = "invalid"     // the application rejects the value
	Unavailable Code = "unavailable" // not reached, overloaded or timed out: retry
	Blocked     Code = "blocked"     // an operation that this one depends on failed
)

// Error is the error type of connectors. Its message tells the user what to do and never contains a secret.
type Error struct {
	Code Code
	// Op names the attempt, such as "grant SELECT on sales.orders".
	Op string
	// Message is for people.
	Message string
	// RetryAfter is set with Unavailable if the application names a time for the next try.
	RetryAfter time.Duration
	// Whole is set with Unavailable if the application as such doesn't answer or is rate-limited: other operations
	// would fail too.
	Whole bool
	// Dependents are the obstacles, for Blocked and Conflict: owned objects, failed operations.
	Dependents []string
	// Err is the cause, which may be nil. It is not printed: drivers' messages may hold connection strings.
	Err error
}

// Error is "op: message".
func (e *Error) Error() string {
	if e.Op == "" {
		return e.Message
	}
	return fmt.Sprintf("%s: %s", e.Op, e.Message)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// IsWhole reports whether an *Error in err's chain concerns the application as such.
func IsWhole(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Whole
}

// CodeOf returns the code of the first *Error in err's chain, or "".
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
