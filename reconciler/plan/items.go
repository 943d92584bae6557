package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// The baseline remembers, by item, what was once seen to be as desired. An item is a connection's
// existence, its payload, or one entitlement; its text is the key in the ledger.

// ConnectionItem is the item of a connection's existence.
func ConnectionItem(n schemas.Name) string { return item("c", n.Type, n.SourceName) }

// PayloadItem is the item of a connection's attributes.
func PayloadItem(n schemas.Name) string { return item("p", n.Type, n.SourceName) }

// EntitlementItem is the item of one entitlement.
func EntitlementItem(k schemas.Key) string {
	return item("e", k.Connection.Type, k.Connection.SourceName, k.Target.Type, k.Target.SourceName, k.Privilege)
}

// OperationItem is the item that an operation changes, by the names in the requests.
func OperationItem(o *schemas.Operation) string {
	switch o.Kind {
	case schemas.OperationGrant, schemas.OperationRevoke:
		k := o.Key()
		if o.WrittenConnection != nil {
			k.Connection = *o.WrittenConnection
		}
		if o.WrittenTarget != nil {
			k.Target = *o.WrittenTarget
		}
		return EntitlementItem(k)
	case schemas.OperationUpdate:
		return PayloadItem(o.Connection)
	}
	if o.WrittenConnection != nil {
		return ConnectionItem(*o.WrittenConnection)
	}
	return ConnectionItem(o.Connection)
}

// item joins parts with a character that no name may hold (decoding refuses control characters).
func item(parts ...string) string { return strings.Join(parts, "\x1f") }

// The words of assertions. A tombstone's explains why it is to be absent.
const (
	present = "present"
	absent  = "absent"
	foreign = "foreign" // a connection that is there, and not ours to make or to end
)

func absentFor(c schemas.Cause) string {
	switch c {
	case schemas.CauseRequest:
		return "absent-request"
	case schemas.CauseExpiry:
		return "absent-expiry"
	case schemas.CauseUndo:
		return "absent-undo"
	}
	return absent + "-" + string(c)
}

// hasWord reports whether a token has the word, or one that begins with it.
func hasWord(token, word string) bool { return strings.HasPrefix(token, word) }

// token is the assertion about an item: a word, and its documents, each as 16 hexadecimal digits.
func token(word string, docs []schemas.DocumentID) string {
	var b strings.Builder
	b.Grow(len(word) + 1 + 17*len(docs))
	b.WriteString(word)
	sep := byte(':')
	for i := range docs {
		b.WriteByte(sep)
		h := hashDocument(&docs[i])
		b.Write(h[:])
		sep = ','
	}
	if len(docs) == 0 {
		b.WriteByte(sep)
	}
	return b.String()
}

func hashDocument(d *schemas.DocumentID) (out [16]byte) {
	var buf [192]byte
	b := append(buf[:0], d.Path...)
	b = append(b, 0x1f)
	b = strconv.AppendInt(b, int64(d.Index), 10)
	b = append(b, 0x1f)
	b = append(b, d.Blob...)
	sum := sha256.Sum256(b)
	hex.Encode(out[:], sum[:8])
	return out
}

// assertion makes and compares tokens. It remembers the last: items of one document follow each other.
type assertion struct {
	word string
	doc  schemas.DocumentID
	tok  string
}

func (a *assertion) token(word string, docs []schemas.DocumentID) string {
	if len(docs) != 1 {
		return token(word, docs)
	}
	if a.tok == "" || a.word != word || a.doc != docs[0] {
		a.word, a.doc, a.tok = word, docs[0], token(word, docs)
	}
	return a.tok
}

// changed reports whether the documents assert something that the baseline's item was not verified with: another
// word, or the same by a document that is new. The end of one of several grants is nothing new.
func (a *assertion) changed(base schemas.BaselineItem, known bool, word string, docs []schemas.DocumentID) bool {
	if !known {
		return true
	}
	rest, ok := strings.CutPrefix(base.Token, word+":")
	if !ok {
		return true
	}
	if base.Token == a.token(word, docs) {
		return false
	}
	for i := range docs {
		h := hashDocument(&docs[i])
		found := false
		for one := range strings.SplitSeq(rest, ",") {
			found = found || one == string(h[:])
		}
		if !found {
			return true
		}
	}
	return false
}

func operationID(application string, kind schemas.OperationKind, item string) string {
	sum := sha256.Sum256([]byte(application + "\x1f" + string(kind) + "\x1f" + item))
	return hex.EncodeToString(sum[:8])
}

// DocumentKey names a document without its content.
type DocumentKey struct {
	Path  string
	Index int
}

// WantedItem is an item with the token that a verification of it leaves in the baseline.
type WantedItem struct{ Item, Token string }

// ItemsOf lists, for each document, the items that it decides about: what has to be verified before the
// document itself is.
func ItemsOf(d *Desired) map[DocumentKey][]WantedItem {
	out := map[DocumentKey][]WantedItem{}
	add := func(docs []schemas.DocumentID, item, tok string) {
		for _, id := range docs {
			k := DocumentKey{id.Path, id.Index}
			out[k] = append(out[k], WantedItem{item, tok})
		}
	}
	for _, c := range d.Connections {
		switch c.Existence {
		case Present:
			add(c.Documents, ConnectionItem(c.Name), token(present, c.Documents))
			last := c.Documents[len(c.Documents)-1:]
			add(last, PayloadItem(c.Name), token(present, last))
		case Deleted:
			add(c.Documents, ConnectionItem(c.Name), token(absent, c.Documents))
		}
		for _, e := range c.Entitlements {
			add(e.Documents, EntitlementItem(schemas.Key{Connection: c.Name, Target: e.Target, Privilege: e.Privilege}), token(present, e.Documents))
		}
		for _, t := range c.Tombstones {
			add(t.Documents, EntitlementItem(schemas.Key{Connection: c.Name, Target: t.Target, Privilege: t.Privilege}), token(absentFor(t.Cause), t.Documents))
		}
	}
	return out
}
