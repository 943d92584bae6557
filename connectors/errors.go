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
	NotFound    Code = "not_found"   // what the operation needs is not there
	Conflict    Code = "conflict"    // it is there, but other than expected; somebody else may be writing
	Unsupported Code = "unsupported" // the application cannot do this
	Denied      Code = "denied"      // our credential may not do this
	Invalid     Code = "invalid"     // the application refuses the value
	Unavailable Code = "unavailable" // not reached, overloaded or timed out: worth another try
	Blocked     Code = "blocked"     // an operation that this one depends on failed
)

// Error is what connectors return. Its message says what a user can do and never holds a secret.
type Error struct {
	Code Code
	// Op says what was tried, as "grant SELECT on sales.orders".
	Op string
	// Message is for people.
	Message string
	// RetryAfter is set with Unavailable where the application says when to come back.
	RetryAfter time.Duration
	// Whole says, with Unavailable, that the application as a whole does not answer or wants no more for now: no
	// other operation is worth a try before the next attempt.
	Whole bool
	// Dependents are what stands in the way, for Blocked and Conflict: owned objects, failed operations.
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

// IsWhole says whether an *Error in err's chain is about the application as a whole.
func IsWhole(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Whole
}

// CodeOf returns the code of the first *Error in err's chain, or "" when there is none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
