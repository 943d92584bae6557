package secrets_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors/secrets"
	"github.com/countersign/countersign/schemas"
)

// Services repeat what they were sent in many forms; none of them may come out.
func TestRedact(t *testing.T) {
	t.Parallel()
	const secret = "cana/ry+S3 cr3t=%zz\"<&>\\~"
	asJSON, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	var everything strings.Builder
	for _, b := range []byte(secret) {
		fmt.Fprintf(&everything, "%%%02x", b)
	}
	forms := map[string]string{
		"plain":                    secret,
		"in a text":                "token " + secret + ": refused",
		"query":                    url.QueryEscape(secret),
		"path":                     url.PathEscape(secret),
		"lower-case percent":       strings.ToLower(url.QueryEscape("cana/ry+")) + url.QueryEscape(secret[len("cana/ry+"):]),
		"all percent":              everything.String(),
		"percent encoded twice":    url.QueryEscape(url.QueryEscape(secret)),
		"JSON":                     string(asJSON),
		"JSON, slashes escaped":    strings.ReplaceAll(string(asJSON), "/", `\/`),
		"Go":                       fmt.Sprintf("%q", secret),
		"HTML":                     html.EscapeString(secret),
		"percent encoded in JSON":  `{"a":"` + url.QueryEscape(secret) + `"}`,
		"base64 in lines":          base64.StdEncoding.EncodeToString([]byte(secret))[:16] + "\n" + base64.StdEncoding.EncodeToString([]byte(secret))[16:],
		"base64, percent encoded":  url.QueryEscape(base64.StdEncoding.EncodeToString([]byte("user:" + secret))),
		"base64 of a longer value": base64.StdEncoding.EncodeToString([]byte("{\"user\":\"" + secret + "\",\"more\":1}")),
	}
	for _, before := range []string{"", "u", "us", "use", "user:"} {
		for _, after := range []string{"", "a", "ab", "abc"} {
			for name, e := range map[string]*base64.Encoding{"std": base64.StdEncoding, "URL": base64.URLEncoding, "raw": base64.RawStdEncoding, "raw URL": base64.RawURLEncoding} {
				forms[fmt.Sprintf("base64 %s of %q secret %q", name, before, after)] = e.EncodeToString([]byte(before + secret + after))
			}
		}
	}
	r := &secrets.Redactor{}
	r.Add(secret)
	for name, text := range forms {
		got := r.Redact("a " + text + " b")
		if !strings.Contains(got, secrets.Replacement) || !strings.HasPrefix(got, "a ") || !strings.HasSuffix(got, " b") {
			t.Errorf("%s: %q became %q", name, text, got)
		}
		// Nothing of it may be left that could be decoded.
		for _, part := range []string{"S3", "cr3t", base64.RawStdEncoding.EncodeToString([]byte(secret))[4:12]} {
			if strings.Contains(got, part) {
				t.Errorf("%s: %q became %q, which has %q", name, text, got, part)
			}
		}
	}
}

// A secret that holds others, such as a URL with a password, is redacted in parts, too.
func TestRedactParts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, secret, text, want string }{
		{"URL", "postgres://plan:hun%2Fter-2x@db:5432/shop", "password hun/ter-2x is wrong", "password REDACTED is wrong"},
		{"DSN", "plan:hunter-22x@tcp(db:3306)/", "using hunter-22x", "using REDACTED"},
		{"key and value", "host=db user=plan password='hunter 22x' sslmode=require", "using hunter 22x", "using REDACTED"},
		{"JSON", `{"client_email":"a@b.test","private_key":"line-one-of-it\nline-two-of-it"}`, "a@b.test line-two-of-it", "a@b.test REDACTED"},
		{"lines", "first-line-of-it\nsecond-line-of-it\n", "second-line-of-it", "REDACTED"},
		{"PEM", "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----", "expected -----BEGIN PRIVATE KEY-----", "expected -----BEGIN PRIVATE KEY-----"},
		{"short", "sales", "presales and sales_reader, sales; sales", "presales and sales_reader, REDACTED; REDACTED"},
		{"too short", "abc", "abc", "abc"},
		{"none", "hunter-22x", "nothing %zz & + \\ here", "nothing %zz & + \\ here"},
	} {
		r := &secrets.Redactor{}
		r.Add(tc.secret)
		if got := r.Redact(tc.text); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

// Of a value, all texts are clean, and nothing is changed in place. Kept types stay.
func TestValue(t *testing.T) {
	t.Parallel()
	const secret = "hunter-22x"
	r := &secrets.Redactor{}
	op := &schemas.Operation{ID: "op " + secret, Connection: schemas.Name{Type: "role", SourceName: secret}}
	in := &schemas.Record{Note: secret, Operation: op, Finding: &schemas.Finding{Message: "m " + secret}, Planned: []schemas.Operation{{After: map[string]any{"a": []any{secret, 1}}}}}
	if got := secrets.Value(r, in, nil); got != in {
		t.Error("a value is copied although no secret is known")
	}
	r.Add(secret)
	got := secrets.Value(r, in, func(typ reflect.Type) bool { return typ == reflect.TypeFor[schemas.Name]() })
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), secret); n != 1 || got.Operation.Connection.SourceName != secret {
		t.Errorf("%d are left in %s", n, b)
	}
	if in.Note != secret || op.ID != "op "+secret || in.Planned[0].After["a"].([]any)[0] != secret {
		t.Error("the value itself was changed")
	}
}

func TestHandler(t *testing.T) {
	t.Parallel()
	const secret = "hunter-22x"
	r := &secrets.Redactor{}
	var out bytes.Buffer
	log := slog.New(r.Handler(slog.NewTextHandler(&out, nil)))
	log = log.With("before", secret) // not known yet
	r.Add(secret)
	log.With("with", secret).WithGroup("g").Info("m "+secret, "text", secret, "error", errors.New("e "+secret), "list", []string{secret}, slog.Group("in", "x", secret), "n", 1)
	if n := strings.Count(out.String(), secret); n != 1 || strings.Count(out.String(), secrets.Replacement) != 6 {
		t.Errorf("%d are left in %s", n, out.String())
	}
}
