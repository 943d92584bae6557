package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// Texts that name a person are in a record twice: a salted commitment where the name belongs, and the name itself beside
// it, in the member "personal". A record's hash is over all of it but "personal", so that the chain is over commitments: a
// package in which names are replaced by pseudonyms still verifies, and who has only the package can't guess the names.
// The member "commitments" is their number, so that none can be left out of a ledger that decides about access.
//
// Within a record, one text has one commitment; across records the salts differ.
const (
	personalMember    = "personal"
	commitmentsMember = "commitments"
	// commitmentPrefix begins each commitment: the SHA-256 of salt and text, in base64 without padding.
	commitmentPrefix = "sha256:"
	saltBytes        = 16
)

func commitment(salt, text string) string {
	sum := sha256.Sum256([]byte(salt + "\x00" + text))
	return commitmentPrefix + base64.RawURLEncoding.EncodeToString(sum[:])
}

// commit puts commitments in the place of the texts in the canonical JSON of a record, and returns the text that is
// hashed and the one that is kept, which has the member personal too.
func commit(plain []byte, texts map[string]bool, random io.Reader) (hashed, kept []byte, err error) {
	// In order, so that the same random bytes give the same record.
	list := make([]string, 0, len(texts))
	for t := range texts {
		list = append(list, t)
	}
	slices.Sort(list)
	salts := make([]byte, saltBytes*len(list))
	if _, err := io.ReadFull(random, salts); err != nil {
		return nil, nil, fmt.Errorf("read random bytes: %w", err)
	}
	tokens, personal := make(map[string]string, len(list)), make(map[string]schemas.PersonalText, len(list))
	for i, t := range list {
		salt := base64.RawURLEncoding.EncodeToString(salts[i*saltBytes : (i+1)*saltBytes])
		c := commitment(salt, t)
		token, err := canonical(t)
		if err != nil {
			return nil, nil, err
		}
		tokens[string(token)], personal[c] = `"`+c+`"`, schemas.PersonalText{Salt: salt, Text: t}
	}
	hashed, used := substitute(plain, tokens)
	for token, c := range tokens {
		if !used[token] {
			delete(personal, strings.Trim(c, `"`))
		}
	}
	if len(personal) == 0 {
		return plain, plain, nil
	}
	hashed = insert(hashed, commitmentsMember, strconv.AppendInt(nil, int64(len(personal)), 10))
	member, err := canonical(personal)
	if err != nil {
		return nil, nil, err
	}
	return hashed, insert(hashed, personalMember, member), nil
}

// substitute replaces string values below the top level of a record by their token, and reports which were.
func substitute(text []byte, tokens map[string]string) (out []byte, used map[string]bool) {
	out, used = make([]byte, 0, len(text)+len(text)/4), map[string]bool{}
	depth, done := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			end := stringEnd(text, i)
			if depth > 1 && (end == len(text) || text[end] != ':') {
				if c, ok := tokens[string(text[i:end])]; ok {
					used[string(text[i:end])] = true
					out = append(append(out, text[done:i]...), c...)
					done = end
				}
			}
			i = end - 1
		}
	}
	return append(out, text[done:]...), used
}

// stringEnd is behind the closing quotation mark of the string that begins at i.
func stringEnd(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// topMember is a member of the outermost object: from its key to the end of its value.
type topMember struct {
	key             []byte
	from, value, to int
}

// members lists those of an object, in compact JSON.
func members(text []byte) []topMember {
	var out []topMember
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 && len(out) > 0 {
				out[len(out)-1].to = i
				return out
			}
		case ',':
			if depth == 1 && len(out) > 0 {
				out[len(out)-1].to = i
			}
		case '"':
			end := stringEnd(text, i)
			if depth == 1 && end < len(text) && text[end] == ':' {
				out = append(out, topMember{key: text[i+1 : end-1], from: i, value: end + 1, to: len(text)})
			}
			i = end - 1
		}
	}
	return out
}

// insert adds a member to an object, in the order of keys.
func insert(object []byte, key string, value []byte) []byte {
	at := 1
	for _, m := range members(object) {
		if string(m.key) < key {
			at = m.to
		}
	}
	out := make([]byte, 0, len(object)+len(key)+len(value)+4)
	out = append(out, object[:at]...)
	if at > 1 {
		out = append(out, ',')
	}
	out = append(append(append(append(out, '"'), key...), `":`...), value...)
	if at == 1 && object[at] != '}' {
		out = append(out, ',')
	}
	return append(out, object[at:]...)
}

var personalKey = []byte(`"` + personalMember + `":`)

// split separates the part of a record that its hash covers from the personal texts beside it.
func split(kept []byte) (hashed, personal []byte) {
	if !bytes.Contains(kept, personalKey) {
		return kept, nil
	}
	for _, m := range members(kept) {
		if string(m.key) != personalMember {
			continue
		}
		out := append(make([]byte, 0, len(kept)), kept[:m.from]...)
		rest := kept[m.to:]
		if len(rest) > 0 && rest[0] == ',' {
			rest = rest[1:]
		} else {
			out = bytes.TrimSuffix(out, []byte(","))
		}
		return append(out, rest...), kept[m.value:m.to]
	}
	return kept, nil
}

// hashOf is the hash of a record as it is kept.
func hashOf(kept []byte) string {
	hashed, _ := split(kept)
	return hashText(hashed)
}

var errCommitment = errors.New("a text that names a person is not the one that was recorded, or is missing")

// restore returns the record with the personal texts in the place of their commitments. With pseudonyms, these may be
// there instead, or nothing: a ledger that decides about access has all texts.
func restore(kept []byte, pseudonyms bool) ([]byte, error) {
	hashed, raw := split(kept)
	count := commitments(hashed)
	if raw == nil && (count == 0 || pseudonyms) {
		return hashed, nil
	}
	personal, err := personalOf(raw, pseudonyms)
	if err != nil {
		return nil, err
	}
	tokens := make(map[string]string, len(personal))
	for c, p := range personal {
		token, err := canonical(p.Text + p.Pseudonym)
		if err != nil {
			return nil, err
		}
		tokens[`"`+c+`"`] = string(token)
	}
	out, used := substitute(hashed, tokens)
	if len(used) != len(personal) || !pseudonyms && len(used) != count {
		return nil, errCommitment
	}
	return out, nil
}

var commitmentsKey = []byte(`"` + commitmentsMember + `":`)

// commitments is how many a record has.
func commitments(hashed []byte) int {
	if !bytes.Contains(hashed, commitmentsKey) {
		return 0
	}
	for _, m := range members(hashed) {
		if string(m.key) == commitmentsMember {
			if n, err := strconv.Atoi(string(hashed[m.value:m.to])); err == nil {
				return n
			}
			return -1 // never the number of those that are there
		}
	}
	return 0
}

// personalOf decodes the member personal, and proves each text by its commitment.
func personalOf(raw []byte, pseudonyms bool) (map[string]schemas.PersonalText, error) {
	out := map[string]schemas.PersonalText{}
	if len(raw) == 0 {
		return out, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		return nil, err
	}
	for c, p := range out {
		switch {
		case p.Pseudonym == "" && commitment(p.Salt, p.Text) == c:
		case pseudonyms && p.Pseudonym != "" && p.Salt == "" && p.Text == "":
		default:
			return nil, errCommitment
		}
	}
	return out, nil
}

// decode reads a record as it is kept.
func decode(kept []byte, into any) error {
	text, err := restore(kept, false)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// decodeAny reads a record of a ledger that doesn't hold, as far as that goes.
func decodeAny(kept []byte, into any) error {
	text, err := restore(kept, true)
	if err != nil {
		text = kept
	}
	return json.Unmarshal(text, into)
}

// Pseudonymous returns a line of Lines with a pseudonym in the place of each personal text. Its hash stays.
func Pseudonymous(line string, pseudonym func(text string) string) (string, error) {
	hashed, raw := split([]byte(line))
	if raw == nil {
		return line, nil
	}
	personal, err := personalOf(raw, true)
	if err != nil {
		return "", err
	}
	for c, p := range personal {
		if p.Pseudonym == "" {
			personal[c] = schemas.PersonalText{Pseudonym: pseudonym(p.Text)}
		}
	}
	member, err := canonical(personal)
	if err != nil {
		return "", err
	}
	return string(insert(hashed, personalMember, member)), nil
}

// Parts takes a line of Lines apart: the text that its hash is over, and the texts that name a person, "" for none.
func Parts(line string) (hashed, personal string) {
	h, p := split([]byte(line))
	return string(h), string(p)
}

// PersonalTexts are the texts of a record that name or may name a person, in no order.
func PersonalTexts(r *schemas.Record) map[string]bool { return personalTexts(r) }

// personalTexts are the texts of a record that name or may name a person: who asked, approved, gains and did it, and text
// that people or applications wrote.
func personalTexts(r *schemas.Record) map[string]bool {
	p := personal{}
	if r.Admission != nil {
		p.admission(r.Admission)
	}
	if r.Operation != nil {
		p.operation(r.Operation)
	}
	for i := range r.Planned {
		p.operation(&r.Planned[i])
	}
	for i := range r.Fulfilments {
		p.add(r.Fulfilments[i].By, r.Fulfilments[i].Message)
	}
	if r.Outcome != nil {
		p.add(r.Outcome.Error)
		if f := r.Outcome.Fulfilment; f != nil {
			p.add(f.By, f.Message)
		}
	}
	if r.Finding != nil {
		p.add(r.Finding.Message)
	}
	for i := range r.Baseline {
		p.item(r.Baseline[i].Item)
	}
	if o := r.Observation; o != nil {
		for _, list := range [][]schemas.Sighting{o.Opened, o.Closed} {
			for i := range list {
				p.item(list[i].Item)
			}
		}
		for i := range o.Findings {
			p.add(o.Findings[i].Message)
		}
	}
	return p
}

// itemSeparator is between the names of a baseline item, which end with the privilege.
const itemSeparator = "\x1f"

func membership(privilege string) bool {
	return privilege == schemas.PrivilegeMember || privilege == schemas.PrivilegeAdmin
}

type personal map[string]bool

func (p personal) add(texts ...string) {
	for _, s := range texts {
		if s != "" {
			p[s] = true
		}
	}
}

// item adds the item of a membership.
func (p personal) item(item string) {
	if parts := strings.Split(item, itemSeparator); membership(parts[len(parts)-1]) {
		p.add(item)
	}
}

func (p personal) operation(o *schemas.Operation) {
	if membership(o.Privilege) {
		for _, n := range []*schemas.Name{o.Target, o.WrittenTarget} {
			if n != nil {
				p.add(n.SourceName)
			}
		}
	}
	p.add(o.HoldReason, o.ReassignTo)
	for _, list := range [][]schemas.Access{o.Gained, o.Lost} {
		for i := range list {
			p.add(list[i].Identity.SourceName)
		}
	}
}

func (p personal) requirements(list []schemas.Requirement) {
	for i := range list {
		p.add(list[i].From...)
	}
}

func (p personal) admission(a *schemas.AdmissionRecord) {
	p.add(a.Reasons...)
	p.requirements(a.Unmet)
	if a.Rationale != nil {
		p.add(*a.Rationale)
	}
	for i := range a.Accepts {
		p.add(a.Accepts[i].Owner, a.Accepts[i].Reason)
	}
	for i := range a.Requests {
		p.add(a.Requests[i].Metadata.Reason)
	}
	if e := a.Evidence; e != nil {
		p.add(e.Title, e.MergedBy)
		p.add(slices.Concat(e.Authors, e.Unattributed, e.Beneficiaries, e.Problems)...)
		for i := range e.Persons {
			p.add(e.Persons[i].Name, e.Persons[i].Person)
		}
		for i := range e.Approvals {
			p.add(e.Approvals[i].Person, e.Approvals[i].Why)
			p.add(e.Approvals[i].Capacities...)
		}
	}
	if d := a.Decision; d != nil {
		p.requirements(d.Required)
		for _, list := range [][]schemas.RuleResult{d.Denials, d.Warnings} {
			for i := range list {
				p.add(list[i].Msg)
			}
		}
	}
}
