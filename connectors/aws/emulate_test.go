package aws_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/aws"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/schemas"
)

// The emulator knows who somebody is, roles, and little more of IAM: that a credential is taken for what it is, and
// that what cannot be read is no empty account.
func TestEmulator(t *testing.T) {
	t.Parallel()
	url := servers.Emulate(t, "aws", map[string]any{"aws": map[string]any{"iam": map[string]any{"roles": []any{map[string]any{"role_name": "plan", "path": "/"}}}}})
	cfg := connectors.Config{Application: "cloud", Now: time.Now, Logger: slog.New(slog.DiscardHandler), Values: map[string]any{
		"account": accountID, "access_key_id": connectors.NewSecret(accessKey), "secret_access_key": connectors.NewSecret(connectortest.Canary),
		"endpoint": url + "/iam/", "sts_endpoint": url + "/sts/", "max_wait": "20ms", "settle": "100ms",
	}}
	w := writer(t, cfg)
	s, err := w.Read(t.Context(), schemas.Selection{})
	if connectors.CodeOf(err) != connectors.Unsupported {
		t.Errorf("Read: %d connections, %v, want %s", len(s.Connections), err, connectors.Unsupported)
	}
	writer(t, with(map[string]any{"role_arn": "arn:aws:iam::" + accountID + ":role/plan"})(t, cfg))
	if _, err := aws.New().OpenReader(t.Context(), with(map[string]any{"account": "210987654321"})(t, cfg)); connectors.CodeOf(err) != connectors.Conflict {
		t.Errorf("of another account: %v, want %s", err, connectors.Conflict)
	}
	_, err = aws.New().OpenReader(t.Context(), with(map[string]any{"role_arn": "arn:aws:iam::" + accountID + ":role/absent"})(t, cfg))
	if connectors.CodeOf(err) == "" {
		t.Errorf("with a role that is not there: %v, want an error with a code", err)
	}
}
