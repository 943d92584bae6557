package strict

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/schemas"
)

func TestConnectorLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, line, says string }{
		{"hello", `{"id":1,"type":"hello","hello":{"version":1}}`, ""},
		{"white space", ` {"id":1,"type":"done","done":{"count":0}} `, ""},
		{"a pair of surrogates", `{"id":1,"type":"items","items":[{"type":"user","source_name":"\ud83d\ude00"}]}`, ""},
		{"a backslash and a u", `{"id":1,"type":"items","items":[{"type":"user","source_name":"\\ud83d"}]}`, ""},
		{"half a pair", `{"id":1,"type":"items","items":[{"type":"user","source_name":"\ud83d!"}]}`, "surrogate"},
		{"the other half", `{"id":1,"type":"items","items":[{"type":"user","source_name":"\\\ude00"}]}`, "surrogate"},
		{"halves the wrong way", `{"id":1,"type":"items","items":[{"type":"user","source_name":"\ude00\ud83d"}]}`, "surrogate"},
		{"nothing", ``, "not one JSON value"},
		{"a list", `[]`, "expected a mapping, got a list"},
		{"null", `null`, "got nothing"},
		{"two", `{"id":1,"type":"done","done":{"count":0}}{}`, "not one JSON value"},
		{"cut short", `{"id":1,"type":"done","done":{"count":0}`, "not one JSON value"},
		{"an id of zero", `{"id":0,"type":"done","done":{"count":0}}`, "id too small"},
		{"a fraction", `{"id":1.5,"type":"done","done":{"count":0}}`, "got a fraction"},
		{"a huge id", `{"id":1e300,"type":"done","done":{"count":0}}`, "does not fit"},
		{"a number for a name", `{"id":1,"type":"items","items":[{"type":"user","source_name":7}]}`, "items.0.source_name expected text"},
		{"the wrong body", `{"id":1,"type":"done","error":{"code":"invalid","message":"x"}}`, "done is missing"},
		{"a body too many", `{"id":1,"type":"done","done":{"count":0},"items":[]}`, "expected at most 3"},
		{"a misspelt field", `{"id":1,"type":"done","done":{"count":0,"incomplet":"x"}}`, "done.incomplet unknown field"},
		{"a field with a secret for a name", `{"id":1,"type":"done","done":{"count":0,"Hunter2":1}}`, "done.… unknown field"},
	} {
		_, err := DecodeConnectorAnswer([]byte(c.line))
		if (c.says == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
	}
	if _, err := DecodeConnectorRequest([]byte(`{"id":1,"type":"apply","operations":[{"id":"a","kind":"drop","connection":{"type":"t","source_name":"n"}}]}`)); err == nil {
		t.Error("a request of an unknown kind was taken")
	}
	r, err := DecodeConnectorRequest([]byte(`{"id":3,"type":"close"}`))
	if diff := cmp.Diff(&schemas.ConnectorRequest{ID: 3, Type: "close"}, r); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

// FuzzConnectorAnswer: whatever a connector writes is refused, or means the same when it is written again.
func FuzzConnectorAnswer(f *testing.F) {
	for _, line := range []string{
		`{"id":1,"type":"hello","hello":{"version":1}}`, `{"id":2,"type":"done","done":{"count":1,"incomplete":"x"}}`,
		`{"id":3,"type":"connections","connections":[{"type":"group","source_name":"a","native_id":"1","payload":{"a":[1,null,{"b":"c"}]},"entitlements":[{"target":{"type":"user","source_name":"x"},"privilege":"MEMBER","state":"invited"}]}]}`,
		`{"id":4,"type":"outcome","outcome":{"operation":"op","attempts":2,"error":{"code":"conflict","message":"m","dependents":["d"]}}}`,
		`{"id":5,"type":"items","items":[{"type":"user","source_name":"\ud83d\ude00","connection":true}]}`, "{\"id\":6,\"type\":\"\xff\"}", `{"ID":7}`, `[[[[`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := DecodeConnectorAnswer(line)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b\x00") {
				t.Errorf("the error repeats what came: %q", err)
			}
			return
		}
		again, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := DecodeConnectorAnswer(again)
		if err != nil {
			// An empty list of parts is left out when it is written.
			if len(a.Connections)+len(a.Entitlements)+len(a.Items) == 0 && (a.Type == "connections" || a.Type == "entitlements" || a.Type == "items") {
				return
			}
			t.Fatalf("%s is taken, and %s is not: %v", line, again, err)
		}
		want, err := json.Marshal(b)
		if err != nil || string(want) != string(again) {
			t.Errorf("%s became %s (%v)", again, want, err)
		}
	})
}
