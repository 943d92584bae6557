package ledger

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/schemas"
)

// The quick way must never give other bytes than the published one.
func same(t interface {
	Helper()
	Fatalf(string, ...any)
}, v any) {
	t.Helper()
	want, wantErr := schemas.Canonical(v)
	got, err := canonical(v)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("canonical(%#v) error %v, want %v", v, err, wantErr)
	}
	if string(got) != string(want) {
		t.Fatalf("canonical(%#v):\n got %s\nwant %s", v, got, want)
	}
}

func TestCanonicalIsThePublishedForm(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]any{
		"keys":             map[string]any{"b": 1, "a": 2, "a!": 3, "a b": 4, "a\"": 5, "aa": 6, "": 7, "~": 8, "\x7f": 9},
		"utf-16 order":     map[string]any{"\ufb33": 1, "😀": 2, "é": 3, "z": 4},
		"nested":           map[string]any{"z": map[string]any{"y": []any{map[string]any{"d": 1, "c": 2}}, "x": nil}, "a": []any{}, "m": map[string]any{}},
		"numbers":          []any{0, -1, 1.5, 1e21, math.Copysign(0, -1), 999999999999999, 1e15, 9007199254740992, json.Number("1.0"), json.Number("-0"), json.Number("0e1")},
		"inexact":          int64(9007199254740993),
		"escapes":          "\x00\x1f\x7f\b\f\n\r\t\"\\/<>&é\u2028\u2029😀",
		"replacement":      "a real \ufffd",
		"no UTF-8":         "\xff",
		"backslash u text": `\ufffd \u2028`,
		"words":            []any{true, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			same(t, v)
		})
	}
}

func TestCanonicalOfAnything(t *testing.T) {
	t.Parallel()
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		leaf := []*rapid.Generator[any]{rapid.String().AsAny(), rapid.Bool().AsAny(), rapid.Int64().AsAny(), rapid.Int32().AsAny(), rapid.Float64Range(-1e300, 1e300).AsAny()}
		if depth > 0 {
			leaf = append(leaf, rapid.MapOfN(rapid.StringMatching(`[a-z_!" ~é]{0,4}`), rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) }), 0, 5).AsAny(),
				rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) }), 0, 4).AsAny())
		}
		return rapid.OneOf(leaf...)
	}
	rapid.Check(t, func(t *rapid.T) { same(t, value(3).Draw(t, "value")) })
}

func TestBodyOf(t *testing.T) {
	t.Parallel()
	r := schemas.Record{APIVersion: schemas.APIVersion, Sequence: 2, Time: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), Type: schemas.RecordFinding,
		Note: "n", Previous: "00", Hash: "must not be in it"}
	got, _, err := bodyOf(&r, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"apiVersion":"countersign.dev/v1","note":"n","previous":"00","sequence":2,"time":"2026-11-23T09:00:00Z","type":"finding"}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	// An auditor with nothing but the published rule gets the same: any JSON reader, the key taken out, RFC 8785.
	full, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(full, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "hash")
	again, err := schemas.Canonical(m)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(got) {
		t.Errorf("from the published form:\n got %s\nwant %s", again, got)
	}
}

func TestBodyRefusesInexactNumbers(t *testing.T) {
	t.Parallel()
	r := schemas.Record{Type: schemas.RecordIntent, Planned: []schemas.Operation{{ID: "x", After: map[string]any{"limit": int64(1) << 60}}}}
	if _, _, err := bodyOf(&r, rand.Reader); !errors.Is(err, schemas.ErrInexact) {
		t.Errorf("bodyOf() error %v, want %v", err, schemas.ErrInexact)
	}
	if !strings.HasPrefix(hashOf(nil), "e3b0c442") {
		t.Errorf("hashOf(nil) = %s, want SHA-256 of nothing", hashOf(nil))
	}
}
