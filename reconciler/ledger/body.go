package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// unhashed is a record without its hash and without what is added as it is kept: the fields here hide those of the record.
type unhashed struct {
	schemas.Record
	Hash        any `json:"hash,omitempty"`
	Commitments any `json:"commitments,omitempty"`
	Personal    any `json:"personal,omitempty"`
}

// bodyOf is the text that is hashed, and the one that is kept: the canonical JSON (RFC 8785) of a record without its hash,
// with commitments in the place of texts that name a person, and the same with these texts beside it.
func bodyOf(r *schemas.Record, random io.Reader) (hashed, kept []byte, err error) {
	plain, err := canonical(unhashed{Record: *r})
	if err != nil {
		return nil, nil, err
	}
	return commit(plain, personalTexts(r), random)
}

func hashText(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// canonical is schemas.Canonical, in a third of the time for ordinary records: it sorts encoding/json's text
// in place. It falls back to schemas.Canonical for the rest (keys that are not plain ASCII, numbers that are not short
// integers, escapes that canonical JSON writes otherwise).
func canonical(v any) ([]byte, error) {
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	s := sorter{in: plain.Bytes(), out: make([]byte, 0, plain.Len())}
	if s.value() {
		return s.out, nil
	}
	return schemas.Canonical(v)
}

// sorter copies compact JSON from in to out with the keys of objects sorted. Its methods return false for
// input that they don't support; out is invalid then.
type sorter struct {
	in  []byte
	at  int
	out []byte
	// spans and scratch are used as stacks by nested objects.
	spans   []span
	scratch []byte
}

// span is one member of an object: its key in the input, and the complete member in the output.
type span struct {
	key      []byte
	from, to int
}

func (s *sorter) value() bool {
	if s.at >= len(s.in) {
		return false
	}
	switch c := s.in[s.at]; c {
	case '{':
		return s.object()
	case '[':
		return s.array()
	case '"':
		_, ok := s.text()
		return ok
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.integer()
}

func (s *sorter) word(w string) bool {
	if !bytes.HasPrefix(s.in[s.at:], []byte(w)) {
		return false
	}
	s.at += len(w)
	s.out = append(s.out, w...)
	return true
}

// integer covers what every JSON reader holds exactly and writes the same: up to 15 digits.
func (s *sorter) integer() bool {
	from := s.at
	if s.in[s.at] == '-' {
		s.at++
	}
	digits := s.at
	for s.at < len(s.in) && s.in[s.at] >= '0' && s.in[s.at] <= '9' {
		s.at++
	}
	n := s.at - digits
	if n == 0 || n > 15 || (s.in[digits] == '0' && (n > 1 || digits > from)) {
		return false
	}
	if s.at < len(s.in) && strings.IndexByte(".eE", s.in[s.at]) >= 0 {
		return false
	}
	s.out = append(s.out, s.in[from:s.at]...)
	return true
}

// text covers the escapes that encoding/json and RFC 8785 write alike.
func (s *sorter) text() (raw []byte, ok bool) {
	from := s.at
	for s.at++; s.at < len(s.in); s.at++ {
		switch s.in[s.at] {
		case '"':
			s.at++
			raw = s.in[from:s.at]
			s.out = append(s.out, raw...)
			return raw, true
		case '\\':
			s.at++
			// \u2028, \u2029 are written raw by RFC 8785; \ufffd replaces invalid UTF-8.
			if s.at < len(s.in) && s.in[s.at] == 'u' && !bytes.HasPrefix(s.in[s.at:], []byte("u00")) {
				return nil, false
			}
		}
	}
	return nil, false
}

func (s *sorter) array() bool {
	s.at++
	s.out = append(s.out, '[')
	for s.at < len(s.in) && s.in[s.at] != ']' {
		if !s.value() {
			return false
		}
		if s.at < len(s.in) && s.in[s.at] == ',' {
			s.at++
			s.out = append(s.out, ',')
		}
	}
	if s.at >= len(s.in) {
		return false
	}
	s.at++
	s.out = append(s.out, ']')
	return true
}

func (s *sorter) object() bool {
	s.at++
	s.out = append(s.out, '{')
	begin, first := len(s.out), len(s.spans)
	for s.at < len(s.in) && s.in[s.at] != '}' {
		from := len(s.out)
		key, ok := s.text()
		if !ok || !plainKey(key) || s.at >= len(s.in) || s.in[s.at] != ':' {
			return false
		}
		s.at++
		s.out = append(s.out, ':')
		if !s.value() {
			return false
		}
		s.spans = append(s.spans, span{key, from, len(s.out)})
		if s.at < len(s.in) && s.in[s.at] == ',' {
			s.at++
		}
	}
	if s.at >= len(s.in) {
		return false
	}
	s.at++
	members := s.spans[first:]
	sorted := slices.IsSortedFunc(members, byKey)
	if !sorted {
		slices.SortFunc(members, byKey)
	}
	s.scratch = s.scratch[:0]
	for i, m := range members {
		if i > 0 {
			if bytes.Equal(members[i-1].key, m.key) {
				return false
			}
			s.scratch = append(s.scratch, ',')
		}
		s.scratch = append(s.scratch, s.out[m.from:m.to]...)
	}
	s.out = append(append(s.out[:begin], s.scratch...), '}')
	s.spans = s.spans[:first]
	return true
}

// byKey orders by the text between the quotation marks, which are lower than any character of a plain key
// but the space and the exclamation mark: plainKey leaves those out.
func byKey(a, b span) int { return bytes.Compare(a.key, b.key) }

// plainKey reports whether the order of the quoted keys' bytes is that of their UTF-16 units.
func plainKey(quoted []byte) bool {
	for _, c := range quoted[1 : len(quoted)-1] {
		if c <= '"' || c >= 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

// legible makes text that came from elsewhere, such as a server's error in another encoding, into UTF-8. An
// outcome must be recorded whatever the server answered.
func legible(r *schemas.Record) {
	r.Note = strings.ToValidUTF8(r.Note, "\uFFFD")
	if r.Outcome != nil {
		o := *r.Outcome
		o.Error = strings.ToValidUTF8(o.Error, "\uFFFD")
		if o.Fulfilment != nil {
			f := *o.Fulfilment
			f.Message, f.By = strings.ToValidUTF8(f.Message, "\uFFFD"), strings.ToValidUTF8(f.By, "\uFFFD")
			o.Fulfilment = &f
		}
		r.Outcome = &o
	}
	if r.Finding != nil {
		f := *r.Finding
		f.Message = strings.ToValidUTF8(f.Message, "\uFFFD")
		r.Finding = &f
	}
}
