//go:build moto

package aws_test

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/servers"
)

// TestMoto runs the suite against moto, which others wrote after AWS, and which knows nothing of the server that the
// other tests use:
//
//	go test -tags moto -run TestMoto ./connectors/aws
func TestMoto(t *testing.T) {
	url := servers.Moto(t)
	var n atomic.Int64
	h := harness()
	h.Connector = lacking{h.Connector}
	h.Start = func(t connectortest.TB) connectortest.Application { return startMoto(t, url, n.Add(1)) }
	// It has one account and takes every credential.
	h.Faulty = slices.DeleteFunc(h.Faulty, func(f connectortest.Faulty) bool { return f.Code == connectors.Denied })
	h.Serial = true
	connectortest.Run(t, h)
}

// lacking is the connector without what moto does otherwise than AWS's documentation says: UpdateGroup forgets
// NewPath, and ListEntitiesForPolicy takes every use of a policy for a boundary, so that none may be deleted.
type lacking struct{ connectors.Connector }

func lack(d connectors.Description) connectors.Description {
	for i := range d.Types {
		d.Types[i].Update = d.Types[i].Update && d.Types[i].Name != "group"
		d.Types[i].Delete = d.Types[i].Delete && d.Types[i].Name != "policy"
	}
	return d
}

func (c lacking) Describe() connectors.Description { return lack(c.Connector.Describe()) }

func (c lacking) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	w, err := c.Connector.OpenWriter(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return lackingWriter{w}, nil
}

type lackingWriter struct{ connectors.Writer }

func (w lackingWriter) Describe(ctx context.Context) (connectors.Description, error) {
	d, err := w.Writer.Describe(ctx)
	return lack(d), err
}

// onMoto is an account at moto. All tests share it, so each has a prefix.
type onMoto struct{ connectortest.Application }

func startMoto(t connectortest.TB, url string, n int64) connectortest.Application {
	t.Helper()
	a := &app{url: url, prefix: strconv.FormatInt(n, 36) + "-"}
	a.config = connectors.Config{Application: "cloud", Now: time.Now, Logger: slog.New(slog.DiscardHandler), Values: map[string]any{
		"account": accountID, "access_key_id": connectors.NewSecret(accessKey), "secret_access_key": connectors.NewSecret(connectortest.Canary),
		"path_prefix": teamPath, "endpoint": url, "page_size": 1000, "timeout": "30s", "max_wait": "1s", "settle": "1s",
	}}
	for _, pairs := range [][]string{
		{"CreatePolicy", "PolicyName", "boundary", "PolicyDocument", anyPolicy},
		{"CreateGroup", "GroupName", "keeper", "Path", "/elsewhere/"},
	} {
		if body, ok := a.try(t, pairs[0], pairs[1:]...); !ok && !strings.Contains(body, "EntityAlreadyExists") {
			t.Fatal(body)
		}
	}
	// It has none of AWS's own policies unless it is told to load all thousand, which it then counts among the
	// permissions boundaries in each reading.
	a.managed = func(string) (string, bool) { return "", false }
	return onMoto{a}
}
