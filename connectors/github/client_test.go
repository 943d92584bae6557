package github

import "testing"

func FuzzExplain(f *testing.F) {
	for _, s := range []string{`{"message": "Validation Failed", "errors": [{"field": "name", "code": "custom", "message": "x"}, "y", {"field": "z", "code": "missing"}]}`, `[]`, `{"errors": 1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, body []byte) { explain(body) })
}
