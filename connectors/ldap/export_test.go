package ldap

import (
	"fmt"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/schemas"
)

// Calls is how many requests a reader or writer has sent.
func Calls(r connectors.Reader) int { return sessionOf(r).calls }

// Drop breaks the connection, as a server does that ends idle sessions.
func Drop(r connectors.Reader) { _ = sessionOf(r).raw.Close() }

func sessionOf(r connectors.Reader) *session {
	r = connectors.Unguard(r)
	if w, ok := r.(*writer); ok {
		return &w.session
	}
	return &r.(*reader).session
}

// ChangeLate finds a group, lets something happen, and then adds a member to what it found.
func ChangeLate(t connectortest.TB, w connectors.Writer, group, member string, between func()) error {
	t.Helper()
	opened := connectors.Unguard(w).(*writer)
	found, err := opened.find(t.Context(), &schemas.Operation{Kind: schemas.OperationGrant, Connection: schemas.Name{Type: typeGroup, SourceName: group}})
	if err != nil || found == nil {
		t.Fatalf("find %s: %v", group, err)
	}
	between()
	return opened.send(t.Context(), "change", found, changes(map[string][]string{attrMember: {member}}, nil))
}

// InRanges lets the server give no more than so many members at once, as Active Directory does.
func InRanges(r connectors.Reader, most int) {
	sessionOf(r).between = func(c conversation) conversation { return ranged{c, most} }
}

// ranged asks for parts of the members where all are asked for.
type ranged struct {
	conversation
	most int
}

func (r ranged) Search(req *goldap.SearchRequest) (*goldap.SearchResult, error) {
	copied := *req
	copied.Attributes = nil
	for _, a := range req.Attributes {
		from := -1
		if m := rangeOption.FindStringSubmatch(a); m != nil {
			if _, err := fmt.Sscan(m[2], &from); err != nil {
				return nil, err
			}
		} else if strings.EqualFold(a, attrMember) {
			from = 0
		}
		if from >= 0 {
			a = fmt.Sprintf("%s;range=%d-%d", attrMember, from, from+r.most-1)
		}
		copied.Attributes = append(copied.Attributes, a)
	}
	return r.conversation.Search(&copied)
}
