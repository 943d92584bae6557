package strict

import (
	"bytes"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/jsonschema"
)

// Decode reads all documents of a control file. path is from the repository's root, with slashes.
//
// Either all documents are returned or, when anything is wrong, all errors and no document. The
// documents keep a reference to content, which must not change afterwards.
func Decode(path string, content []byte) ([]schemas.Document, schemas.ErrorList) {
	return decode(path, content, true)
}

// DecodeFast is Decode without positions of fields: its documents keep no reference to content. It is
// for reading a complete repository, where few documents are ever asked for more than their own position.
func DecodeFast(path string, content []byte) ([]schemas.Document, schemas.ErrorList) {
	return decode(path, content, false)
}

// decoder holds what is known of one file while it is decoded.
type decoder struct {
	path    string
	errs    schemas.ErrorList
	dropped int
	dirty   bool // refused characters were reported from the raw bytes already

	// Of the present document:
	line   int // lines before it
	root   *yaml.Node
	kind   schemas.Kind
	before int // errors before it
}

func decode(path string, content []byte, positions bool) ([]schemas.Document, schemas.ErrorList) {
	d := decoder{path: path}
	if limit := schemas.FileLimit(path); len(content) > limit {
		d.failAt(1, 1, "", fmt.Sprintf("the file has %d bytes (expected at most %s)", len(content), schemas.Bytes(limit)), "split it into several files")
		return nil, d.errs
	}
	if !d.checkRaw(content) {
		return nil, d.errs.Bounded(d.dropped)
	}
	set, err := compiled()
	if err != nil {
		d.failAt(1, 1, "", err.Error(), "this is a fault of countersign itself")
		return nil, d.errs
	}
	var docs []schemas.Document
	empty := true
	for chunk := range split(content) {
		if d.full() {
			break
		}
		d.line = chunk.line
		if limit := schemas.DocumentLimit(path); len(chunk.text) > limit {
			empty = false
			d.failAt(1, 1, "", fmt.Sprintf("the document has %d bytes (expected at most %s)", len(chunk.text), schemas.Bytes(limit)), "split it into several documents")
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
		if len(docs) >= schemas.MaxDocuments {
			d.failAt(1, 1, "", fmt.Sprintf("more than %d documents in one file", schemas.MaxDocuments), "split it into several files")
			break
		}
		doc := d.document(set, root, chunk.text)
		doc.Index = len(docs)
		if positions {
			places := &source{text: chunk.text, line: chunk.line}
			places.noteEntries(root)
			doc.Places = places
		}
		docs = append(docs, doc)
	}
	d.line = 0
	if empty {
		d.failAt(1, 1, "", "the file holds no document", "write one, or delete the file")
	}
	d.checkFile(docs)
	if len(d.errs) > 0 {
		return nil, d.errs.Bounded(d.dropped)
	}
	return docs, nil
}

// checkFile checks the complete file against what its name requires.
func (d *decoder) checkFile(docs []schemas.Document) {
	only := schemas.Kind("")
	switch d.path {
	case schemas.SettingsPath:
		only = schemas.KindSettings
	case schemas.PeoplePath:
		only = schemas.KindPeople
	}
	for i, doc := range docs {
		at := doc.Position
		switch {
		case doc.Kind == "":
		case only != "" && doc.Kind != only:
			d.failAt(at.Line, at.Column, "kind", fmt.Sprintf("%s doesn't belong in %s (expected %s)", doc.Kind, d.path, only), "give it a file of its own")
		case only != "" && i > 0:
			d.failAt(at.Line, at.Column, "", fmt.Sprintf("a second %s document (expected one)", only), "merge the two")
		case only == "" && doc.Kind == schemas.KindSettings:
			d.failAt(at.Line, at.Column, "kind", "Settings belong in "+schemas.SettingsPath+" and nowhere else", "")
		case only == "" && doc.Kind == schemas.KindPeople:
			d.failAt(at.Line, at.Column, "kind", "People belong in "+schemas.PeoplePath+" and nowhere else", "")
		}
	}
}

// full reports whether enough errors were found to stop looking.
func (d *decoder) full() bool { return len(d.errs) >= 4*schemas.MaxErrors }

// failAt reports a fault at a line of the present document.
func (d *decoder) failAt(line, column int, field, msg, hint string) {
	if d.full() {
		d.dropped++
		return
	}
	d.errs = append(d.errs, schemas.Error{Position: schemas.Position{Path: d.path, Line: max(line, 1) + d.line, Column: max(column, 1)}, Field: field, Msg: msg, Hint: hint})
}

// fail reports a fault at a node.
func (d *decoder) fail(n *yaml.Node, at *step, msg, hint string) {
	d.failAt(n.Line, n.Column, at.shown(), msg, hint)
}

// document decodes one document. Its result is valid only when no error was added.
func (d *decoder) document(set *schemaSet, root *yaml.Node, text []byte) schemas.Document {
	d.root, d.kind, d.before = root, "", len(d.errs)
	doc := schemas.Document{Position: schemas.Position{Path: d.path, Line: root.Line + d.line, Column: root.Column}}
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
	validator := set.kinds[schemas.Kind(kind)]
	if validator == nil {
		d.failKind(fields)
		return doc
	}
	doc.Kind, d.kind = validator.kind, validator.kind
	d.translate(validator.Findings(fields))
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
			if schemas.FoldKey(key) == "kind" {
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
	d.fail(node, &at, "unknown kind (expected one of "+strings.Join(kindNames(), ", ")+")", jsonschema.DidYouMean(kind, kindNames()))
}
