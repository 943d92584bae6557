package postgres

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/countersign/countersign/connectors"
)

// TestAnswerOfAnotherService reads a mail server's greeting, whose first bytes look like a message of 842 megabytes.
func TestAnswerOfAnotherService(t *testing.T) {
	t.Parallel()
	s := settings{DSN: connectors.NewSecret("host=127.0.0.1 user=x")}
	config, err := s.parse("dsn")
	if err != nil {
		t.Fatal(err)
	}
	_, err = config.BuildFrontend(strings.NewReader("220 mail.example.test ESMTP\r\n"), io.Discard).Receive()
	var tooLong *pgproto3.ExceededMaxBodyLenErr
	if !errors.As(err, &tooLong) {
		t.Errorf("got %v, want %T", err, tooLong)
	}
}
