package schemas

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestIsControlFile(t *testing.T) {
	t.Parallel()
	own := &SettingsSpec{Folders: Folders{Requests: "access/r"}, AllowedSigners: "keys/signers"}
	for _, c := range []struct {
		path     string
		settings *SettingsSpec
		want     FileClass
	}{
		{"countersign.yaml", nil, ClassSettings},
		{"people.yaml", nil, ClassPeople},
		{"requests/a.yaml", nil, ClassRequest},
		{"requests/2026/11/a.yml", nil, ClassRequest},
		{"requests/a.json", nil, ""},
		{"requests.yaml", nil, ""},
		{"requests/\u202e.yaml", nil, ClassRequest},
		{"applications/w.yaml", nil, ClassApplication},
		{"applications/team/w.yaml", nil, ClassApplication},
		{"policy/a.rego", nil, ClassPolicy},
		{"policy/deep/data.yaml", nil, ClassPolicy},
		{"policy/data.json", nil, ClassPolicy},
		{"policy/other.yaml", nil, ""},
		{"README.md", nil, ""},
		{"sub/countersign.yaml", nil, ""},
		{"requests/a.yaml", own, ""},
		{"access/r/a.yaml", own, ClassRequest},
		{"applications/w.yaml", own, ClassApplication},
		{"keys/signers", own, ClassSigners},
		{"keys/signers", nil, ""},
	} {
		got, ok := IsControlFile(c.path, c.settings)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("IsControlFile(%q) = %q, %v, want %q", c.path, got, ok, c.want)
		}
	}
}

func TestCheckPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, want string }{
		{"requests/2026/a.yaml", ""},
		{"requests/ü with space.yaml", ""},
		{"countersign.yaml", ""},
		{"", "is empty"},
		{strings.Repeat("a", maxPath+1), "bytes"},
		{"requests/\xff.yaml", "UTF-8"},
		{"requests/a\x00.yaml", "NUL"},
		{"requests/a\n.yaml", "control character U+000A"},
		{"requests/\u202eyaml", "bidirectional control character U+202E"},
		{"requests/a\u200b.yaml", "zero-width character U+200B"},
		{"requests/a\u2028.yaml", "line separator"},
		{"requests/cafe\u0301.yaml", "NFC"},
		{`requests\a.yaml`, "backslash"},
		{"/requests/a.yaml", "absolute"},
		{"C:/a.yaml", "drive"},
		{"requests/../a.yaml", "may leave"},
		{"..", "may leave"},
		{"./a.yaml", "not clean"},
		{"requests//a.yaml", "not clean"},
		{"requests/", "not clean"},
		{"a/.GIT/config", "Git's own"},
		{"requests/a.yaml ", "white space"},
	} {
		err := CheckPath(c.path)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("CheckPath(%q) = %v, want %q", c.path, err, c.want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x00\n\u202e\u200b") {
			t.Errorf("CheckPath(%q) prints what it refuses", c.path)
		}
	}
}

func TestCheckPattern(t *testing.T) {
	t.Parallel()
	for pattern, ok := range map[string]bool{"*": true, "a?b": true, `a\*`: true, `a\\`: true, "": false, `a\`: false, `a\\\`: false} {
		if err := CheckPattern(pattern); (err == nil) != ok {
			t.Errorf("CheckPattern(%q) = %v", pattern, err)
		}
	}
}

func TestErrorList(t *testing.T) {
	t.Parallel()
	if err := (ErrorList{}).Err(); err != nil {
		t.Errorf("an empty list is %v", err)
	}
	list := ErrorList{
		{Position: Position{"b", 1, 1}, Msg: "m"}, {Position: Position{"a", 2, 1}, Field: "f", Msg: "m", Hint: "h"},
		{Position: Position{"a", 1, 9}, Msg: "m"}, {Position: Position{"a", 1, 9}, Msg: "m"}, {Msg: "whole"},
	}.Sort()
	want := "whole\na:1:9: m\na:2:1: f: m; h\nb:1:1: m"
	if got := list.Err().Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (Error{Position: Position{"a\u202e", 1, 0}, Msg: "m"}).Error(); got != `"a\u202e":1:1: m` {
		t.Errorf("got %s", got)
	}
}

// TestCanonical has the examples of RFC 8785.
func TestCanonical(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"section 3.2.2", `{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001], "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}`,
			`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`},
		{"section 3.2.3", `{"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"}`,
			"{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}"},
		{"html", `{"a": "<&>\u2028"}`, "{\"a\":\"<&>\u2028\"}"},
		{"empty", `[{}, [], "", 0, -0, -0.0, 1.0]`, `[{},[],"",0,0,0,1]`},
		{"escaped backslash", `"\\ufffd"`, `"\\ufffd"`},
	} {
		var v any
		if err := json.Unmarshal([]byte(c.in), &v); err != nil {
			t.Fatal(err)
		}
		got, err := Canonical(v)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %s, %v\nwant %s", c.name, got, err, c.want)
		}
	}
	// Appendix B.
	for bits, want := range map[uint64]string{
		0x0000000000000000: "0", 0x8000000000000000: "0", 0x0000000000000001: "5e-324", 0x8000000000000001: "-5e-324",
		0x7fefffffffffffff: "1.7976931348623157e+308", 0xffefffffffffffff: "-1.7976931348623157e+308",
		0x4340000000000000: "9007199254740992", 0xc340000000000000: "-9007199254740992", 0x4430000000000000: "295147905179352830000",
		0x44b52d02c7e14af5: "9.999999999999997e+22", 0x44b52d02c7e14af6: "1e+23", 0x44b52d02c7e14af7: "1.0000000000000001e+23",
		0x444b1ae4d6e2ef4e: "999999999999999700000", 0x444b1ae4d6e2ef4f: "999999999999999900000", 0x444b1ae4d6e2ef50: "1e+21",
		0x3eb0c6f7a0b5ed8c: "9.999999999999997e-7", 0x3eb0c6f7a0b5ed8d: "0.000001", 0x41b3de4355555553: "333333333.3333332",
		0x41b3de4355555554: "333333333.33333325", 0x41b3de4355555555: "333333333.3333333", 0x41b3de4355555556: "333333333.3333334",
		0x41b3de4355555557: "333333333.33333343", 0xbecbf647612f3696: "-0.0000033333333333333333", 0x43143ff3c1cb0959: "1424953923781206.2",
	} {
		if got, err := Canonical(math.Float64frombits(bits)); err != nil || string(got) != want {
			t.Errorf("%#x: got %s, %v, want %s", bits, got, err, want)
		}
	}
	for _, v := range []any{int64(math.MaxInt64), int64(1<<53 + 1), uint64(math.MaxUint64), json.Number("1e999")} {
		if got, err := Canonical(v); !errors.Is(err, ErrInexact) {
			t.Errorf("Canonical(%v) = %s, %v, want ErrInexact", v, got, err)
		}
	}
	for _, v := range []any{math.NaN(), math.Inf(1), "\xff", map[string]any{"\xff": 1}, func() {}} {
		if got, err := Canonical(v); err == nil {
			t.Errorf("Canonical(%v) = %s, want an error", v, got)
		}
	}
	if got, err := Canonical(int64(1 << 53)); err != nil || string(got) != "9007199254740992" {
		t.Errorf("2^53: %s, %v", got, err)
	}
}

// TestCanonicalIsStable: what is read back has the same canonical form.
func TestCanonicalIsStable(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 1, 2, 3, 4, time.UTC)
	r := Record{APIVersion: APIVersion, Sequence: 1<<53 - 1, Time: now, Note: "<ü\u2028\x01>", Operation: &Operation{After: map[string]any{"b": 1.5, "a": nil, "n": -1}}}
	first, err := Canonical(r)
	if err != nil {
		t.Fatal(err)
	}
	var again Record
	if err := json.Unmarshal(first, &again); err != nil {
		t.Fatal(err)
	}
	second, err := Canonical(again)
	if err != nil || string(first) != string(second) {
		t.Errorf("%s\n%s\n%v", first, second, err)
	}
}
