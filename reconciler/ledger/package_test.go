package ledger_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/ledgertest"
	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/schemas"
)

func signer(t *testing.T) *seal.Key {
	t.Helper()
	private, _, err := seal.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := seal.ParseKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestPackages proves packages with the public key alone, names replaced or not, and after a rotation by either key.
func TestPackages(t *testing.T) {
	t.Parallel()
	first, second, other := signer(t), signer(t), signer(t)
	path := filepath.Join(t.TempDir(), "ledger.db")
	verdict := schemas.Record{Type: schemas.RecordAdmission, Admission: &schemas.AdmissionRecord{Commit: "c1", Verdict: schemas.AdmissionAdmitted,
		Evidence: &schemas.Evidence{Authors: []string{"alice"}, MergedBy: "carol", Approvals: []schemas.Approval{{Person: "bob", Counts: true}}}}}
	with := func(key *seal.Key, do func(*ledger.Ledger) error) {
		t.Helper()
		l, err := ledger.Open(t.Context(), ledger.Config{Path: path, Key: key, Now: ledgertest.NewClock().Now})
		if err != nil {
			t.Fatal(err)
		}
		err = l.Authenticate(t.Context(), ledger.Authority{Anchor: strings.Repeat("a", 40)})
		if err == nil {
			err = do(l)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	with(first, func(l *ledger.Ledger) error {
		if _, err := l.Append(t.Context(), verdict); err != nil {
			return err
		}
		return l.Rotate(t.Context(), second)
	})
	var plain, masked bytes.Buffer
	with(second, func(l *ledger.Ledger) error {
		if _, err := l.Append(t.Context(), verdict); err != nil {
			return err
		}
		if err := l.WritePackage(t.Context(), &plain, nil); err != nil {
			return err
		}
		return l.WritePackage(t.Context(), &masked, func(string) string { return "somebody" })
	})
	for _, name := range []string{"alice", "bob", "carol"} {
		if !strings.Contains(plain.String(), name) || strings.Contains(masked.String(), name) {
			t.Errorf("%s is missing in the plain package, or is in the other one", name)
		}
	}
	lines := strings.SplitAfter(plain.String(), "\n")
	for name, tc := range map[string]struct {
		text string
		key  *seal.Key
		want string
	}{
		"plain":            {plain.String(), second, ""},
		"by the first key": {plain.String(), first, ""},
		"pseudonyms":       {masked.String(), second, ""},
		"another key":      {plain.String(), other, "isn't signed by the key"},
		"another name":     {strings.Replace(plain.String(), `"text":"bob"`, `"text":"eve"`, 1), second, "names a person"},
		"another verdict":  {strings.Replace(plain.String(), `"verdict":"admitted"`, `"verdict":"anchor"`, 1), second, "does not follow"},
		"the last changed": {strings.Join([]string{lines[0], lines[1], strings.Replace(lines[2], "c1", "c2", 1), lines[3]}, ""), second, "or another"},
		"one left out":     {strings.Join([]string{lines[0], lines[2], lines[3]}, ""), second, "in its place"},
		"cut off":          {strings.Join([]string{lines[0], lines[1], lines[3]}, ""), second, "the head that is signed is record 3"},
		"no end":           {strings.Join(lines[:3], ""), second, "not signed"},
		"more after it":    {plain.String() + lines[0], second, "after the end"},
		"nothing":          {"", second, "not signed"},
		"no record":        {"hello\n", second, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rep, err := ledger.VerifyPackage(strings.NewReader(tc.text), tc.key.Public())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range rep.Problems {
				got = append(got, p.What)
			}
			if text := strings.Join(got, "; "); tc.want == "" && text != "" || !strings.Contains(text, tc.want) {
				t.Errorf("problems %q, want %q", text, tc.want)
			}
			if signed := rep.Trust.Signed; signed != (tc.want == "") && tc.want != "names a person" && tc.want != "does not follow" && tc.want != "after the end" {
				t.Errorf("signed = %v", signed)
			}
		})
	}
}
