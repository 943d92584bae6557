package connectors

import "log/slog"

// Secret is a value that must not be seen: whatever prints, marshals or logs it gets REDACTED.
type Secret struct{ value string }

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value, for the one call that needs it.
func (s Secret) Reveal() string { return s.value }

// String is REDACTED.
func (Secret) String() string { return "REDACTED" }

// GoString is REDACTED.
func (Secret) GoString() string { return "REDACTED" }

// MarshalText is REDACTED, which serves JSON, YAML and every text form.
func (Secret) MarshalText() ([]byte, error) { return []byte("REDACTED"), nil }

// LogValue is REDACTED.
func (Secret) LogValue() slog.Value { return slog.StringValue("REDACTED") }
