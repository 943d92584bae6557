package postgres_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/postgres"
)

// certificate writes a self-signed certificate for the name to file.
func certificate(t *testing.T, file, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true}
	if ip := net.ParseIP(name); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// refusing is a server that refuses every login with "too many connections": with TLS if it has a certificate. It returns its port.
func refusing(t *testing.T, own *tls.Certificate) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				login(conn, own)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func login(conn net.Conn, own *tls.Certificate) {
	for {
		message, err := pgproto3.NewBackend(conn, conn).ReceiveStartupMessage()
		if err != nil {
			return
		}
		if _, ok := message.(*pgproto3.SSLRequest); !ok {
			text, err := (&pgproto3.ErrorResponse{Severity: "FATAL", Code: "53300", Message: "too many connections"}).Encode(nil)
			if err == nil {
				conn.Write(text)
			}
			io.Copy(io.Discard, conn)
			return
		}
		if own == nil {
			conn.Write([]byte("N"))
			continue
		}
		conn.Write([]byte("S"))
		conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*own}})
	}
}

func TestCAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	ours, named := certificate(t, file("ours.pem"), "127.0.0.1"), certificate(t, file("named.pem"), "db.example.test")
	certificate(t, file("theirs.pem"), "127.0.0.1")
	if err := os.WriteFile(file("empty.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good, misnamed, without := refusing(t, &ours), refusing(t, &named), refusing(t, nil)
	const reached = "too many connections"
	for name, c := range map[string]struct {
		port int
		dsn  string
		file string
		code connectors.Code
		text string
	}{
		"authority":                   {good, "", file("ours.pem"), connectors.Unavailable, reached},
		"within the repository":       {good, "", "ours.pem", connectors.Unavailable, reached},
		"required":                    {good, "sslmode=require", file("ours.pem"), connectors.Unavailable, reached},
		"verified":                    {good, "sslmode=verify-full", file("ours.pem"), connectors.Unavailable, reached},
		"allowed":                     {good, "sslmode=allow", file("ours.pem"), connectors.Unavailable, reached},
		"another authority":           {good, "", file("theirs.pem"), connectors.Denied, "ca_file"},
		"another, authority alone":    {good, "sslmode=verify-ca", file("theirs.pem"), connectors.Denied, "ca_file"},
		"the system's":                {good, "sslmode=verify-full", "", connectors.Denied, "ca_file"},
		"another name":                {misnamed, "", file("named.pem"), connectors.Denied, "ca_file"},
		"another name, required":      {misnamed, "sslmode=require", file("named.pem"), connectors.Denied, "ca_file"},
		"another name, authority":     {misnamed, "sslmode=verify-ca", file("named.pem"), connectors.Unavailable, reached},
		"no TLS at the server":        {without, "", file("ours.pem"), connectors.Unavailable, "does not support TLS"},
		"no TLS at the server, plain": {without, "", "", connectors.Unavailable, reached},
		"no TLS":                      {good, "sslmode=disable", file("ours.pem"), connectors.Invalid, "sslmode=disable"},
		"a socket":                    {good, "host=" + dir, file("ours.pem"), connectors.Invalid, "socket"},
		"both":                        {good, "sslmode=verify-full sslrootcert=" + file("ours.pem"), file("ours.pem"), connectors.Invalid, "sslrootcert"},
		"no such file":                {good, "", "/nowhere.pem", connectors.Invalid, "cannot be read"},
		"no certificate":              {good, "", file("empty.pem"), connectors.Invalid, "no certificate"},
		"out of the repository":       {good, "", "../ours.pem", connectors.Invalid, "outside the access repository"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := map[string]any{"dsn": connectors.NewSecret(fmt.Sprintf("host=127.0.0.1 port=%d user=x dbname=x password=%s %s", c.port, connectortest.Canary, c.dsn))}
			if c.file != "" {
				values["ca_file"] = c.file
			}
			_, err := postgres.New().OpenReader(t.Context(), connectors.Config{Application: "warehouse", Directory: dir, Now: time.Now, Values: values})
			var e *connectors.Error
			if !errors.As(err, &e) || e.Code != c.code || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), connectortest.Canary) {
				t.Errorf("got %v, want %s with %q", err, c.code, c.text)
			}
		})
	}
}
