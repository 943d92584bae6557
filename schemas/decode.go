package schemas

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// The bounds of control files. They are checked before a parser sees anything.
const (
	MaxFileBytes     = 1 << 20
	MaxDocumentBytes = 64 << 10
	MaxDocuments     = 1000
	MaxDepth         = 20
)

// maxInteger is the largest integer that every JSON reader holds exactly (RFC 7493).
const maxInteger = 1<<53 - 1

// Document is one decoded document of a control file.
type Document struct {
	Kind Kind
	// Index is the document's place in its file, from 0.
	Index int
	// Metadata is zero for Settings and People; for an Application it has the name alone.
	Metadata Metadata
	// Position is that of the document's first field.
	Position Position
	// Value is *Request for the three request kinds, else *Application, *Settings, *People,
	// *AdmissionSpec, *BudgetOverrideSpec or *AcknowledgementSpec, with defaults filled in. Numbers in
	// free-form mappings (payload, config) are int or float64.
	Value any

	src *source
}

// At returns the position of a field path such as spec.grants[0].expires; keys that are no identifiers
// are written ["like this"]. Where the path is not in the document it is that of the longest known
// prefix; "" is the document. A document of DecodeFast knows its own position only.
//
// The entries of grants and revokes are known; for any other field the first call parses the document
// again. At is safe for concurrent use.
func (d Document) At(field string) Position {
	if d.src == nil {
		return d.Position
	}
	if p, ok := d.src.entry(field); ok {
		return Position{Path: d.Position.Path, Line: p[0], Column: p[1]}
	}
	d.src.once.Do(d.src.index)
	for field != "" {
		if p, ok := d.src.places[field]; ok {
			return Position{Path: d.Position.Path, Line: p[0], Column: p[1]}
		}
		field = parentField(field)
	}
	return d.Position
}

// parentField cuts the last step off a field path.
func parentField(field string) string {
	if strings.HasSuffix(field, `"]`) {
		// A quoted key: its opening is the last [" that no backslash continues.
		for at := strings.LastIndex(field, `["`); at >= 0; at = strings.LastIndex(field[:at], `["`) {
			if _, err := strconv.Unquote(field[at+1 : len(field)-1]); err == nil {
				return field[:at]
			}
		}
		return ""
	}
	return field[:max(strings.LastIndexAny(field, ".["), 0)]
}

// source is a document's own text, kept so that positions need no memory until somebody asks.
type source struct {
	text []byte
	line int // lines before text
	once sync.Once
	// places has line and column by field path; nil until indexed.
	places map[string][2]int
	// grants and revokes have those of each entry: every change is asked for them.
	grants, revokes [][2]int
}

// noteEntries keeps where the entries of grants and revokes stand.
func (s *source) noteEntries(root *yaml.Node) {
	spec := valueOf(root, "spec")
	places := func(list *yaml.Node) [][2]int {
		if list == nil || list.Kind != yaml.SequenceNode {
			return nil
		}
		out := make([][2]int, len(list.Content))
		for i, n := range list.Content {
			out[i] = [2]int{n.Line + s.line, n.Column}
		}
		return out
	}
	s.grants, s.revokes = places(valueOf(spec, "grants")), places(valueOf(spec, "revokes"))
}

// valueOf is the value of a mapping's key; nil when there is none.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// entry is the place of spec.grants[N] or spec.revokes[N].
func (s *source) entry(field string) ([2]int, bool) {
	list := s.grants
	number, ok := strings.CutPrefix(field, "spec.grants[")
	if !ok {
		list = s.revokes
		number, ok = strings.CutPrefix(field, "spec.revokes[")
	}
	number, closed := strings.CutSuffix(number, "]")
	i, err := strconv.Atoi(number)
	if !ok || !closed || err != nil || i < 0 || i >= len(list) {
		return [2]int{}, false
	}
	return list[i], true
}

func (s *source) index() {
	root, err := parse(s.text)
	if err != nil || root == nil {
		return // it was parsed before: this cannot be
	}
	s.places = map[string][2]int{}
	var walk func(n *yaml.Node, at *step)
	walk = func(n *yaml.Node, at *step) {
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				key := n.Content[i]
				next := step{up: at, key: key.Value, index: -1}
				s.places[next.String()] = [2]int{key.Line + s.line, key.Column}
				walk(n.Content[i+1], &next)
			}
		case yaml.SequenceNode:
			for i, item := range n.Content {
				next := step{up: at, index: i}
				s.places[next.String()] = [2]int{item.Line + s.line, item.Column}
				walk(item, &next)
			}
		}
	}
	walk(root, nil)
}

// step is one step of the way to a node, the last one first. A nil step is the document.
type step struct {
	up    *step
	key   string
	index int // -1 for a key
}

// String is the field path.
func (s *step) String() string {
	if s == nil {
		return ""
	}
	return s.after(s.up.String())
}

// after is the field path of the step alone, put after another path.
func (s *step) after(up string) string {
	switch {
	case s.index >= 0:
		return up + "[" + strconv.Itoa(s.index) + "]"
	case !isIdentifier(s.key):
		return up + "[" + strconv.QuoteToASCII(s.key) + "]"
	case up == "":
		return s.key
	}
	return up + "." + s.key
}

// shown is the field path for an error. It ends where a key might be something else than a name: a
// secret written as {secret} is a key.
func (s *step) shown() string {
	field, _, _ := s.show(s.inConfig())
	return field
}

// show is shown for the steps up to s; open says that none was left out. It keeps no pointer to a step,
// so that steps need no heap.
func (s *step) show(config bool) (field string, depth int, open bool) {
	if s == nil {
		return "", 0, true
	}
	field, depth, open = s.up.show(config)
	if s.index < 0 && (!isIdentifier(s.key) || len(s.key) > 64 || (config && depth > 2)) {
		open = false
	}
	if open {
		field = s.after(field)
	}
	return field, depth + 1, open
}

// inConfig says whether the step lies in an application's spec.config.
func (s *step) inConfig() bool {
	var second, first *step
	for at := s; at != nil; at = at.up {
		second, first = first, at
	}
	return first != nil && second != nil && first.key == "spec" && second.key == "config"
}

func isIdentifier(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c == '_' || ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || (i > 0 && '0' <= c && c <= '9')) {
			return false
		}
	}
	return s != ""
}

// Decode reads all documents of a control file. path is from the repository's root, with slashes.
//
// Either all documents are returned or, when anything is wrong, all errors and no document. The
// documents keep a reference to content, which must not change afterwards.
func Decode(path string, content []byte) ([]Document, ErrorList) {
	return decode(path, content, true)
}

// DecodeFast is Decode without positions of fields: its documents keep no reference to content. It is
// for reading a whole repository, where few documents are ever asked for more than their own position.
func DecodeFast(path string, content []byte) ([]Document, ErrorList) {
	return decode(path, content, false)
}

// decoder holds what is known of one file while it is decoded.
type decoder struct {
	path    string
	errs    ErrorList
	dropped int
	dirty   bool // refused characters were reported from the raw bytes already

	// Of the present document:
	line   int // lines before it
	root   *yaml.Node
	kind   Kind
	before int // errors before it
}

func decode(path string, content []byte, positions bool) ([]Document, ErrorList) {
	d := decoder{path: path}
	if len(content) > MaxFileBytes {
		d.failAt(1, 1, "", fmt.Sprintf("the file has %d bytes (expected at most 1 MiB)", len(content)), "split it into several files")
		return nil, d.errs
	}
	if !d.checkRaw(content) {
		return nil, d.errs.bounded(d.dropped)
	}
	set, err := compiled()
	if err != nil {
		d.failAt(1, 1, "", err.Error(), "this is a fault of countersign itself")
		return nil, d.errs
	}
	var docs []Document
	empty := true
	for chunk := range split(content) {
		if d.full() {
			break
		}
		d.line = chunk.line
		if len(chunk.text) > MaxDocumentBytes {
			empty = false
			d.failAt(1, 1, "", fmt.Sprintf("the document has %d bytes (expected at most 64 KiB)", len(chunk.text)), "split it into several documents")
			continue
		}
		if chunk.fault != "" {
			empty = false
			d.failAt(1, 1, "", chunk.fault, chunk.hint)
			continue
		}
		root, err := parse(chunk.text)
		if err != nil {
			empty = false
			d.failParse(chunk.text, err)
			continue
		}
		if root == nil {
			continue // comments before the first document
		}
		empty = false
		if len(docs) >= MaxDocuments {
			d.failAt(1, 1, "", fmt.Sprintf("more than %d documents in one file", MaxDocuments), "split it into several files")
			break
		}
		doc := d.document(set, root, chunk.text)
		doc.Index = len(docs)
		if positions {
			doc.src = &source{text: chunk.text, line: chunk.line}
			doc.src.noteEntries(root)
		}
		docs = append(docs, doc)
	}
	d.line = 0
	if empty {
		d.failAt(1, 1, "", "the file holds no document", "write one, or delete the file")
	}
	d.checkFile(docs)
	if len(d.errs) > 0 {
		return nil, d.errs.bounded(d.dropped)
	}
	return docs, nil
}

// checkFile holds the file as a whole to what its name says.
func (d *decoder) checkFile(docs []Document) {
	only := Kind("")
	switch d.path {
	case SettingsPath:
		only = KindSettings
	case PeoplePath:
		only = KindPeople
	}
	for i, doc := range docs {
		at := doc.Position
		switch {
		case doc.Kind == "":
		case only != "" && doc.Kind != only:
			d.failAt(at.Line, at.Column, "kind", fmt.Sprintf("%s does not stand in %s (expected %s)", doc.Kind, d.path, only), "give it a file of its own")
		case only != "" && i > 0:
			d.failAt(at.Line, at.Column, "", fmt.Sprintf("a second %s document (expected one)", only), "merge the two")
		case only == "" && doc.Kind == KindSettings:
			d.failAt(at.Line, at.Column, "kind", "Settings stand in "+SettingsPath+" and nowhere else", "")
		case only == "" && doc.Kind == KindPeople:
			d.failAt(at.Line, at.Column, "kind", "People stand in "+PeoplePath+" and nowhere else", "")
		}
	}
}

// full says that enough errors were found to stop looking.
func (d *decoder) full() bool { return len(d.errs) >= 4*maxErrors }

// failAt reports a fault at a line of the present document.
func (d *decoder) failAt(line, column int, field, msg, hint string) {
	if d.full() {
		d.dropped++
		return
	}
	d.errs = append(d.errs, Error{Position: Position{Path: d.path, Line: max(line, 1) + d.line, Column: max(column, 1)}, Field: field, Msg: msg, Hint: hint})
}

// fail reports a fault at a node.
func (d *decoder) fail(n *yaml.Node, at *step, msg, hint string) {
	d.failAt(n.Line, n.Column, at.shown(), msg, hint)
}

// chunk is the text of one document with its --- line.
type chunk struct {
	text  []byte
	line  int // lines before it
	fault string
	hint  string
}

// split cuts a file at its document markers. A line that begins with --- is a marker everywhere in YAML,
// in quoted text too, so that no parser is needed to bound what the parser gets.
func split(content []byte) func(yield func(chunk) bool) {
	return func(yield func(chunk) bool) {
		start, line := 0, 0
		var current chunk
		begun := false // a line of content was seen in the chunk
		flush := func(end, next int) bool {
			current.text = content[start:end]
			c := current
			start, current = end, chunk{line: next}
			return len(c.text) == 0 || yield(c)
		}
		for at := 0; at < len(content); {
			end := bytes.IndexByte(content[at:], '\n')
			if end < 0 {
				end = len(content)
			} else {
				end += at + 1
			}
			text := content[at:end]
			switch {
			case isMarker(text, "---"):
				if !flush(at, line) {
					return
				}
				begun = true
			case isMarker(text, "..."):
				if current.fault == "" {
					current.fault, current.hint = "a document end marker (...)", "remove it: documents are separated by ---"
					current.line = line
				}
			case !begun && text[0] == '%':
				if current.fault == "" {
					current.fault, current.hint = "a YAML directive (%)", "remove it"
					current.line = line
				}
			case !begun:
				if rest := bytes.TrimLeft(text, " \t\r\n"); len(rest) > 0 && rest[0] != '#' {
					begun = true
				}
			}
			at = end
			line++
		}
		flush(len(content), line)
	}
}

func isMarker(line []byte, marker string) bool {
	if len(line) < 3 || string(line[:3]) != marker {
		return false
	}
	return len(line) == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\n' || line[3] == '\r'
}

// parse returns the root node of the one document in text, nil when there is none. Aliases stay nodes:
// nothing is ever expanded.
func parse(text []byte) (root *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, errors.New("the parser gave up")
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var node yaml.Node
	switch err := decoder.Decode(&node); {
	case err == io.EOF:
		return nil, nil
	case err != nil:
		return nil, err
	}
	var rest yaml.Node
	if err := decoder.Decode(&rest); err != io.EOF {
		if err == nil {
			err = errors.New("yaml: text after the end of the document")
		}
		return nil, err
	}
	if node.Kind != yaml.DocumentNode || len(node.Content) != 1 {
		return nil, errors.New("no document")
	}
	return node.Content[0], nil
}

// parserMessages are the parser's messages that people may see, as we say them. Others may quote the
// text, which may be a secret.
var parserMessages = [...]struct{ part, msg, hint string }{
	{"mapping values are not allowed", "a second ': ' on one line", "indent it as its neighbours, or quote text that has ': ' in it"},
	{"did not find expected key", "no key where one is expected", "indent it as its neighbours"},
	{"did not find expected '-' indicator", "a list item that does not begin with -", "indent it as its neighbours"},
	{"did not find expected ',' or ']'", "a list in brackets that does not end", "close it with ]"},
	{"did not find expected ',' or '}'", "a mapping in braces that does not end", "close it with }"},
	{"could not find expected ':'", "a key without ': ' after it", "write key: value"},
	{"found character that cannot start any token", "a character that no value begins with", "indent with spaces, not tabs, and quote text that begins with @, `, % or a tab"},
	{"found a tab character", "a tab in the indentation", "indent with spaces"},
	{"found unexpected end of stream", "a quoted text that does not end", "close it with the same quotation mark"},
	{"found unknown escape character", "a backslash before a character that it does not go with", "use single quotes, or double the backslash"},
	{"found unexpected document indicator", "a quoted text that does not end before ---", "close it with the same quotation mark"},
	{"block sequence entries are not allowed", "a list item that cannot stand here", "begin it on a line of its own"},
	{"block mapping", "a mapping that cannot stand here", "begin it on a line of its own"},
	{"exceeded max depth", "nested too deeply", "at most 20 levels"},
	{"did not find expected <document start>", "text after the end of the document", "separate documents with ---"},
	{"text after the end", "text after the end of the document", "separate documents with ---"},
	{"found undefined tag handle", "a tag (!)", "remove it, or quote text that begins with !"},
	{"found duplicate", "a directive", "remove it"},
	{"alphabetic or numeric character", "an anchor or alias without a name", "quote text that begins with & or *"},
	{"did not find expected node content", "no value where one is expected", "quote text that begins with a special character"},
	{"did not find URI escaped octet", "a tag (!)", "remove it, or quote text that begins with !"},
	{"while parsing a tag", "a tag (!)", "remove it, or quote text that begins with !"},
	{"tag", "a tag (!)", "remove it, or quote text that begins with !"},
	{"the parser gave up", "the parser gave up", "write it plainly"},
}

// failParse reports a syntax error. The parser's line is that of the construct that it was reading.
func (d *decoder) failParse(text []byte, err error) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		number, rest, _ := strings.Cut(rest, ":")
		if n, err := strconv.Atoi(number); err == nil {
			line = n
			// The scanner counts lines from 1, the parser above it from 0.
			if strings.HasPrefix(rest, " did not find expected") && !strings.Contains(rest, "alphabetic") && !strings.Contains(rest, "URI") {
				line++
			}
		}
		message = rest
	}
	last := bytes.Count(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) + 1
	if name, ok := strings.CutPrefix(message, "unknown anchor '"); ok {
		// The message names the alias, which may be a password that begins with a star.
		name, _, _ = strings.Cut(name, "'")
		if at := bytes.Index(text, []byte("*"+name)); at >= 0 {
			before := text[:at]
			start := bytes.LastIndexByte(before, '\n') + 1
			d.failAt(bytes.Count(before, []byte("\n"))+1, utf8.RuneCount(text[start:at])+1, "", "an alias (*)", "write the value out, or quote text that begins with *")
			return
		}
	}
	line = min(max(line, 1), last)
	for _, m := range parserMessages {
		if strings.Contains(message, m.part) {
			d.failAt(line, 1, "", m.msg, m.hint)
			return
		}
	}
	d.failAt(line, 1, "", "this is not YAML", "check the indentation and the quotation marks")
}

// document decodes one document. What it returns is of use only when no error was added.
func (d *decoder) document(set *schemaSet, root *yaml.Node, text []byte) Document {
	d.root, d.kind, d.before = root, "", len(d.errs)
	doc := Document{Position: Position{Path: d.path, Line: root.Line + d.line, Column: root.Column}}
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" && root.Style == 0 {
		d.failAt(1, 1, "", "an empty document", "remove the --- line")
		return doc
	}
	if bytes.IndexByte(text, '!') >= 0 {
		d.findTags(root, newColumns(text), 1)
	}
	value := d.convert(root, nil, 1)
	fields, ok := value.(map[string]any)
	if !ok {
		if root.Kind != yaml.AliasNode {
			d.fail(root, nil, fmt.Sprintf("the document is %s (expected a mapping with apiVersion, kind and spec)", typeName(value)), "")
		}
		return doc
	}
	kind, _ := fields["kind"].(string)
	validator := set.kinds[Kind(kind)]
	if validator == nil {
		d.failKind(fields)
		return doc
	}
	doc.Kind, d.kind = validator.kind, validator.kind
	if err := validator.schema.Validate(fields); err != nil {
		d.translate(set.index, fields, err)
	}
	if len(d.errs) > d.before {
		return doc
	}
	d.assign(set, &doc, fields)
	return doc
}

// failKind reports a kind that is missing, no text or unknown.
func (d *decoder) failKind(fields map[string]any) {
	value, ok := fields["kind"]
	if !ok {
		hint := "write kind: and one of them"
		for key := range fields {
			if foldKey(key) == "kind" {
				hint = "did you mean kind?"
			}
		}
		d.fail(d.root, &step{key: "kind", index: -1}, "is missing (expected one of "+strings.Join(kindNames(), ", ")+")", hint)
		return
	}
	at := step{key: "kind", index: -1}
	node, _ := d.lookup([]string{"kind"})
	kind, ok := value.(string)
	if !ok {
		d.fail(node, &at, fmt.Sprintf("expected a kind, got %s (expected one of %s)", typeName(value), strings.Join(kindNames(), ", ")), "")
		return
	}
	d.fail(node, &at, "unknown kind (expected one of "+strings.Join(kindNames(), ", ")+")", didYouMean(kind, kindNames()))
}

// columns finds the byte at a line and column of a text.
type columns struct {
	lines [][]byte
	// offsets has, for lines that are not all ASCII, where each character begins.
	offsets map[int][]int
}

func newColumns(text []byte) *columns {
	return &columns{lines: bytes.Split(text, []byte("\n")), offsets: map[int][]int{}}
}

// at returns the byte at a line and column (both from 1), 0 where there is none.
func (c *columns) at(line, column int) byte {
	if line < 1 || line > len(c.lines) || column < 1 {
		return 0
	}
	text := c.lines[line-1]
	offsets, ok := c.offsets[line]
	if !ok {
		for i := range string(text) {
			offsets = append(offsets, i)
		}
		if len(offsets) == len(text) {
			offsets = nil
		}
		c.offsets[line] = offsets
	}
	at := column - 1
	if offsets != nil {
		if at >= len(offsets) {
			return 0
		}
		at = offsets[at]
	}
	if at >= len(text) {
		return 0
	}
	return text[at]
}

// findTags reports explicit tags that the parser leaves no trace of: "! text".
func (d *decoder) findTags(n *yaml.Node, text *columns, depth int) {
	if n.Style&yaml.TaggedStyle == 0 && text.at(n.Line, n.Column) == '!' {
		d.fail(n, nil, "a tag (!)", "remove it, or quote text that begins with !")
	}
	if depth > MaxDepth {
		return
	}
	for _, child := range n.Content {
		d.findTags(child, text, depth+1)
	}
}

// convert checks a node and everything below and returns it as JSON has it: map[string]any, []any,
// string, bool, int, float64 or nil.
func (d *decoder) convert(n *yaml.Node, at *step, depth int) any {
	if n.Anchor != "" {
		d.fail(n, at, "an anchor (&)", "write the value out where it is used, or quote text that begins with &")
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.fail(n, at, "a tag (!)", "remove it, or quote text that begins with !")
		if n.Kind == yaml.ScalarNode {
			return n.Value
		}
	}
	if depth > MaxDepth && n.Kind != yaml.ScalarNode {
		d.fail(n, at, fmt.Sprintf("nested more than %d levels deep", MaxDepth), "")
		return nil
	}
	switch n.Kind {
	case yaml.AliasNode:
		d.fail(n, at, "an alias (*)", "write the value out, or quote text that begins with *")
		return nil
	case yaml.MappingNode:
		return d.convertMapping(n, at, depth)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = d.convert(item, &step{up: at, index: i}, depth+1)
		}
		return list
	case yaml.ScalarNode:
		return d.convertScalar(n, at)
	}
	d.fail(n, at, "this is neither text, list nor mapping", "")
	return nil
}

func (d *decoder) convertMapping(n *yaml.Node, at *step, depth int) any {
	m := make(map[string]any, len(n.Content)/2)
	// Few keys are compared with each other; for many, a map of folded keys is made.
	var folded map[string]*yaml.Node
	if len(n.Content) > 64 {
		folded = make(map[string]*yaml.Node, len(n.Content)/2)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if !d.checkKey(key, at) {
			d.convert(n.Content[i+1], at, depth+1)
			continue
		}
		if twin := findTwin(n, i, folded); twin != nil {
			d.failTwin(key, twin, at)
		}
		m[key.Value] = d.convert(n.Content[i+1], &step{up: at, key: key.Value, index: -1}, depth+1)
	}
	return m
}

// checkKey reports keys that are no plain text.
func (d *decoder) checkKey(key *yaml.Node, at *step) bool {
	switch {
	case key.Kind == yaml.AliasNode:
		d.fail(key, at, "an alias (*) as key", "write the key out")
	case key.Kind != yaml.ScalarNode:
		d.fail(key, at, "a key that is "+kindName(key.Kind)+" (expected text)", "")
	case key.Anchor != "":
		d.fail(key, at, "an anchor (&)", "remove it")
	case key.Style&yaml.TaggedStyle != 0:
		d.fail(key, at, "a tag (!)", "remove it")
	case key.Value == "<<":
		d.fail(key, at, "a merge key (<<)", "write the fields out")
	case key.Tag != "!!str" && key.Tag != "!!timestamp":
		d.fail(key, at, "a key that is "+tagName(key.Tag)+" (expected text)", "quote it")
	case key.Value == "":
		d.fail(key, at, "an empty key", "")
	case len(key.Value) > 1024:
		d.fail(key, at, fmt.Sprintf("a key of %d bytes (expected at most 1024)", len(key.Value)), "")
	default:
		if f := nameFault(key.Value); f != "" && !d.dirty {
			d.fail(key, at, "a key that "+f, "remove it")
			return false
		}
		return true
	}
	return false
}

// findTwin returns an earlier key of the mapping that is the same as the i-th but for case and
// normalisation, or nil.
func findTwin(n *yaml.Node, i int, folded map[string]*yaml.Node) *yaml.Node {
	if folded != nil {
		key := foldKey(n.Content[i].Value)
		twin := folded[key]
		if twin == nil {
			folded[key] = n.Content[i]
		}
		return twin
	}
	for j := 0; j < i; j += 2 {
		if other := n.Content[j]; other.Kind == yaml.ScalarNode && sameKey(other.Value, n.Content[i].Value) {
			return other
		}
	}
	return nil
}

func (d *decoder) failTwin(key, twin *yaml.Node, at *step) {
	field := step{up: at, key: key.Value, index: -1}
	where := fmt.Sprintf("first at line %d", twin.Line+d.line)
	if key.Value == twin.Value {
		d.fail(key, &field, "a key that stands twice ("+where+")", "remove one")
		return
	}
	d.fail(key, &field, "a key that differs from another only by case or Unicode form ("+where+")", "remove one")
}

var (
	plainInteger = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)
	plainFloat   = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
)

// convertScalar reads a scalar by YAML 1.2's core rules. Whatever parsers read differently (octal, hex,
// underscores, infinities) is refused.
func (d *decoder) convertScalar(n *yaml.Node, at *step) any {
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return n.Value[0] == 't' || n.Value[0] == 'T'
	case "!!int":
		v, err := strconv.Atoi(n.Value)
		switch {
		case !plainInteger.MatchString(n.Value):
			d.fail(n, at, "a number that programs read differently", "write it in plain decimal, or quote it if it is text")
		case err != nil || v > maxInteger || v < -maxInteger:
			d.fail(n, at, "a number that is too large to be exact everywhere", "quote it if it is text")
		}
		return v
	case "!!float":
		v, err := strconv.ParseFloat(n.Value, 64)
		switch {
		case !plainFloat.MatchString(n.Value):
			d.fail(n, at, "a number that programs read differently", "write it in plain decimal, or quote it if it is text")
			return 0.0
		case err != nil || math.IsInf(v, 0) || (v == math.Trunc(v) && math.Abs(v) > maxInteger):
			d.fail(n, at, "a number that is too large to be exact everywhere", "quote it if it is text")
			return 0.0
		}
		return v
	}
	if n.Style == 0 && n.Value != "" && (n.Value[0] == '-' || ('0' <= n.Value[0] && n.Value[0] <= '9')) && plainFloat.MatchString(n.Value) {
		// Our parser takes a number that overflows for text; others take it for infinity.
		d.fail(n, at, "a number that is too large to be exact everywhere", "quote it if it is text")
	}
	if n.Style&yaml.DoubleQuotedStyle != 0 && !d.dirty {
		// Only escapes bring in what the raw bytes did not have.
		if f := textFault(n.Value, true); f != "" {
			d.fail(n, at, "an escape stands for "+f+" (expected visible text)", "remove it")
		}
	}
	if at != nil && at.freeForm() {
		if f := credentialFault(at.key, n.Value); f != "" {
			d.fail(n, at, f, "write {env: NAME} or {file: /path} in its place, and change the secret if this was ever pushed")
		}
	}
	return n.Value
}

// freeForm says whether the step lies in a mapping whose fields only connectors know.
func (s *step) freeForm() bool {
	var second, first *step
	for at := s; at != nil; at = at.up {
		second, first = first, at
	}
	return second != nil && first.key == "spec" && (second.key == "config" || second.key == "payload")
}

func kindName(k yaml.Kind) string {
	switch k {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a value"
}

func tagName(tag string) string {
	switch tag {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	}
	return "no plain text"
}

// typeName says what a decoded value is, for people.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case bool:
		return "true or false"
	case int, float64:
		return "a number"
	case string:
		return "text"
	case []any:
		return "a list"
	}
	return "a mapping"
}

// lookup returns the node at an instance location and the node of its key (nil for list items and the
// root).
func (d *decoder) lookup(way []string) (value, key *yaml.Node) {
	value = d.root
	for _, token := range way {
		next, nextKey := child(value, token)
		if next == nil {
			return value, key
		}
		value, key = next, nextKey
	}
	return value, key
}

func child(n *yaml.Node, token string) (value, key *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Kind == yaml.ScalarNode && n.Content[i].Value == token {
				return n.Content[i+1], n.Content[i]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i], nil
		}
	}
	return nil, nil
}

// steps turns an instance location into a step, telling list indexes from keys by the nodes.
func (d *decoder) steps(way []string) *step {
	var at *step
	n := d.root
	for _, token := range way {
		next := &step{up: at, key: token, index: -1}
		if n != nil && n.Kind == yaml.SequenceNode {
			if i, err := strconv.Atoi(token); err == nil {
				next = &step{up: at, index: i}
			}
		}
		if n != nil {
			n, _ = child(n, token)
		}
		at = next
	}
	return at
}
