package connectors

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a value that must not be seen: whatever prints, marshals or logs it gets REDACTED.
type Secret struct {
	// A pointer, since fmt looks through the methods of what lies in an unexported field, and shows an
	// address there.
	value *string
}

const redacted = "REDACTED"

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal returns the value, for the one call that needs it. The zero Secret is "".
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// String is REDACTED.
func (Secret) String() string { return redacted }

// GoString is REDACTED.
func (Secret) GoString() string { return redacted }

// Format is REDACTED for every verb: those for numbers would not ask String.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) } // a Formatter has no way to fail

// MarshalText is REDACTED, which serves JSON, YAML and every text form.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue is REDACTED.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
