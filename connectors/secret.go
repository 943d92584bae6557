package connectors

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a confidential value: printing, marshalling or logging it yields REDACTED.
type Secret struct {
	// A pointer, since fmt doesn't call methods of values in unexported fields, and prints a pointer there as an
	// address.
	value *string
}

const redacted = "REDACTED"

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal returns the value, for the one call that needs it. For the zero Secret it is "".
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// String returns REDACTED.
func (Secret) String() string { return redacted }

// GoString returns REDACTED.
func (Secret) GoString() string { return redacted }

// Format writes REDACTED for every verb: numeric verbs wouldn't call String.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) } // a Formatter has no way to fail

// MarshalText returns REDACTED, for JSON, YAML and every other text format.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns REDACTED.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
