package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// Unread reports whether an operation is about a part of the application that could not be read.
func Unread(live schemas.State, o *schemas.Operation) bool {
	return o.Target != nil && unreadPart(live, *o.Target) != nil
}

func unreadPart(live schemas.State, target schemas.Name) *schemas.Unread {
	i := slices.IndexFunc(live.Unread, func(u schemas.Unread) bool { return strings.HasPrefix(target.SourceName, u.Prefix) })
	if i < 0 {
		return nil
	}
	return &live.Unread[i]
}

// unread reports whether a resource is in a part of the application that could not be read: then nothing is known of it,
// and nothing is done about it.
func (d *differ) unread(it *subject, target schemas.Name) bool {
	return len(d.in.Live.Unread) > 0 && !it.info.membership(target.Type) && unreadPart(d.in.Live, target) != nil
}

// findUnread finds the parts that could not be read.
func (d *differ) findUnread() {
	for _, u := range d.in.Live.Unread {
		d.out.Plan.Findings = append(d.out.Plan.Findings, schemas.Finding{Code: "unread", Severity: schemas.SeverityError, Application: d.in.Application.Name,
			Message: fmt.Sprintf("%s… could not be read: what is held there is unknown: %s", u.Prefix, u.Reason), Fix: "make it readable; the rest goes on meanwhile"})
	}
}
