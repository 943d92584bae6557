package audit

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/countersign/countersign/schemas"
)

// writeCSV writes RFC 4180 in UTF-8 with a header line. Its columns are the fields of ExportRow, lists and
// objects as JSON. Every cell is quoted, so that no other separator than the comma ever parts one.
func writeCSV(out io.Writer, rows []*schemas.AuditRow) error {
	w := bufio.NewWriter(out)
	names, err := columns(&schemas.AuditRow{})
	if err != nil {
		return err
	}
	line(w, names)
	cells := make([]string, len(names))
	for _, r := range rows {
		fields, err := fieldsOf(r)
		if err != nil {
			return err
		}
		for i, n := range names {
			cells[i] = Cell(cellText(fields[n]))
		}
		line(w, cells)
	}
	return w.Flush()
}

// line leaves errors to Flush, which returns the first.
func line(w *bufio.Writer, cells []string) {
	for i, c := range cells {
		if i > 0 {
			w.WriteByte(',')
		}
		w.WriteByte('"')
		w.WriteString(strings.ReplaceAll(c, `"`, `""`))
		w.WriteByte('"')
	}
	w.WriteString("\r\n")
}

func fieldsOf(r *schemas.AuditRow) (map[string]json.RawMessage, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	return fields, json.Unmarshal(b, &fields)
}

// columns are the JSON names of the row's fields, in order.
func columns(r *schemas.AuditRow) ([]string, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	var names []string
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("unexpected %v", t)
		}
		names = append(names, name)
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func cellText(raw json.RawMessage) string {
	var s string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return ""
	case json.Unmarshal(raw, &s) == nil:
		return s
	}
	return string(raw)
}

// Cell makes a text safe for spreadsheets, which take for a formula what begins with = + - @ (in full width
// too), a tab or a carriage return; some take | and % so. An apostrophe goes before it: at the beginning,
// white space, invisible characters and quotation marks passed over, and inside the text wherever another
// choice of separators would make a cell begin. JSON Lines is authoritative: this changes text.
func Cell(s string) string {
	var b strings.Builder
	begins := true // a cell may begin here
	for _, r := range s {
		switch {
		case begins && formula(r):
			b.WriteByte('\'')
			begins = separator(r)
		case separator(r):
			begins = true
		case unicode.IsSpace(r) || unicode.In(r, unicode.Cf, unicode.Cc) || r == '\ufeff':
			// begins stays as it is
		default:
			begins = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

func formula(r rune) bool { return strings.ContainsRune("=+-@\t\r|%＝＋－＠﹢﹣⁺⁻−﹦", r) }

func separator(r rune) bool {
	return strings.ContainsRune(",;\t|\"'\r\n‘’“”＂＇，；\u2028\u2029\u0085\v\f", r)
}
