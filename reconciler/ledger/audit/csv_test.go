package audit

import (
	"bytes"
	"encoding/csv"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/countersign/countersign/schemas"
)

func TestCell(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                          "",
		"plain":                     "plain",
		"a=b":                       "a=b",
		"a-b@c.test":                "a-b@c.test",
		"2026-11-23T09:00:00Z":      "2026-11-23T09:00:00Z",
		"=1+1":                      "'=1+1",
		"+1":                        "'+1",
		"-1":                        "'-1",
		"@SUM(A1)":                  "'@SUM(A1)",
		"\t=1":                      "'\t'=1",
		"\r=1":                      "'\r'=1",
		"\n=1":                      "\n'=1",
		"  =1":                      "  '=1",
		"\u00a0=1":                  "\u00a0'=1",
		"\u3000=1":                  "\u3000'=1",
		"\ufeff=1":                  "\ufeff'=1",
		"\u200b=1":                  "\u200b'=1",
		"\x00=1":                    "\x00'=1",
		"＝1":                        "'＝1",
		"＋1":                        "'＋1",
		"－1":                        "'－1",
		"＠SUM":                      "'＠SUM",
		"|cmd":                      "'|cmd",
		"%0A":                       "'%0A",
		`"=1`:                       `"'=1`,
		`'=1`:                       `''=1`,
		`"" =1`:                     `"" '=1`,
		"x,=1":                      "x,'=1",
		"x;=1":                      "x;'=1",
		"x; =1":                     "x; '=1",
		"x\t=1":                     "x\t'=1",
		"x|=1":                      "x|'=1",
		"x\n=1":                     "x\n'=1",
		"x\r\n=1":                   "x\r\n'=1",
		`x"=1`:                      `x"'=1`,
		"=cmd|' /C calc'!A0":        "'=cmd|' /C calc'!A0",
		`["=1","ok"]`:               `["'=1","ok"]`,
		`=HYPERLINK("//x?"&A1,"y")`: `'=HYPERLINK("//x?"&A1,"y")`,
		"=1=2":                      "'=1=2",
		"a\u2028=1":                 "a\u2028'=1",
	} {
		if got := Cell(in); got != want {
			t.Errorf("Cell(%q) = %q, want %q", in, got, want)
		}
	}
}

// dangerous is what a spreadsheet may take for a formula, told in another way than Cell does.
func dangerous(cell string) bool {
	cell = strings.TrimLeftFunc(cell, func(r rune) bool {
		return unicode.IsSpace(r) && r != '\t' && r != '\r' || unicode.In(r, unicode.Cf) || unicode.IsControl(r) && r != '\t' && r != '\r'
	})
	return slices.ContainsFunc([]string{"=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠"}, func(p string) bool { return strings.HasPrefix(cell, p) })
}

func FuzzCell(f *testing.F) {
	for _, s := range []string{"=1", " =1", "a;=1", "\"=1", "\t", "＝", "x\r\n-1", "'@", "", "\xff=1", "\ufeff+", "a,\u200b=1", "\v=1", "\u0085=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		cell := Cell(s)
		for _, separators := range []string{"", ",", ";", "\t", "|", "\n", "\r", `"`} {
			for i, part := range strings.FieldsFunc("x"+separators+cell, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
				if separators == "" {
					part = cell
				} else if i == 0 {
					continue
				}
				if dangerous(part) && !(separators != "" && strings.ContainsAny(part[:1], "\t\r")) {
					t.Errorf("Cell(%q) = %q: %q begins like a formula", s, cell, part)
				}
			}
		}
		// Nothing is lost: the apostrophes apart it is the same text.
		if got, want := strings.ReplaceAll(cell, "'", ""), strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "'", ""); got != want && strings.ToValidUTF8(s, "") == s {
			t.Errorf("Cell(%q) = %q lost text", s, cell)
		}
		// And it comes through RFC 4180 as one cell.
		var out bytes.Buffer
		if err := writeCSV(&out, []*schemas.AuditRow{{Reason: s}}); err != nil {
			t.Fatal(err)
		}
		lines, err := csv.NewReader(&out).ReadAll()
		if err != nil || len(lines) != 2 || len(lines[0]) != len(lines[1]) {
			t.Errorf("%d lines, %v", len(lines), err)
		}
	})
}
