package strict

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

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

// parserMessages are the parser's messages that people may see, in our words. Others may quote the
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
	{"block sequence entries are not allowed", "a misplaced list item", "begin it on a line of its own"},
	{"block mapping", "a misplaced mapping", "begin it on a line of its own"},
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
