package plan

import (
	"crypto/sha256"
	"encoding/hex"
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

// OperationItem is the item that an operation changes.
func OperationItem(o *schemas.Operation) string {
	switch o.Kind {
	case schemas.OperationGrant, schemas.OperationRevoke:
		return EntitlementItem(o.Key())
	case schemas.OperationUpdate:
		return PayloadItem(o.Connection)
	}
	return ConnectionItem(o.Connection)
}

// item joins parts with a character that no name may hold (decoding refuses control characters).
func item(parts ...string) string { return strings.Join(parts, "\x1f") }

// token is the assertion about an item: a word, and the documents that say so.
func token(word string, docs []schemas.DocumentID) string {
	h := sha256.New()
	for _, d := range docs {
		h.Write([]byte(d.Path))
		h.Write([]byte{0x1f, byte(d.Index), byte(d.Index >> 8), byte(d.Index >> 16)})
		h.Write([]byte(d.Blob))
		h.Write([]byte{0x1e})
	}
	return word + ":" + hex.EncodeToString(h.Sum(nil)[:8])
}

func operationID(application string, kind schemas.OperationKind, item string) string {
	sum := sha256.Sum256([]byte(application + "\x1f" + string(kind) + "\x1f" + item))
	return hex.EncodeToString(sum[:8])
}
