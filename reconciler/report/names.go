package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// of is a name inside an application, as type/source_name.
func (b *builder) of(n schemas.Name) line { return say("{}", name(b.words.Name(n).String())) }

// short is the beginning of a commit or digest, enough to recognise it.
func short(hash string) name {
	_, rest, ok := strings.Cut(hash, ":")
	if ok {
		hash = rest
	}
	return name(hash[:min(len(hash), 8)])
}

// instant is a time in UTC, without the hour at midnight.
func instant(t time.Time) literal {
	t = t.UTC()
	if t.Equal(t.Truncate(24 * time.Hour)) {
		return literal(t.Format(time.DateOnly))
	}
	return literal(t.Format("2006-01-02 15:04Z"))
}

// what is an entitlement's privilege and target: "SELECT on table/sales.orders" or "membership of user/alice".
func (b *builder) what(privilege string, target schemas.Name) line {
	switch privilege {
	case schemas.PrivilegeMember:
		return say("membership: {}", b.of(target))
	case schemas.PrivilegeAdmin:
		return say("membership with admin option: {}", b.of(target))
	}
	return say("{} on {}", name(privilege), b.of(target))
}

func (b *builder) key(k schemas.Key) line {
	return say("{}, {}", b.of(k.Connection), b.what(k.Privilege, k.Target))
}

// source is the document that an operation comes from.
func source(d schemas.DocumentID) line {
	if d.Index > 0 {
		return say("{} (document {})", name(d.Path), d.Index+1)
	}
	return say("{}", name(d.Path))
}

func value(v any) name {
	if s, ok := v.(string); ok {
		return name(s)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return name("(" + err.Error() + ")")
	}
	return name(raw)
}

// sentence is a foreign message of several lines as one.
func (b *builder) sentence(s string) line {
	var parts []line
	rest := 0
	for l := range strings.SplitSeq(s, "\n") {
		switch {
		case l == "":
		case len(parts) == 5:
			rest++
		default:
			parts = append(parts, say("{}", strings.TrimSpace(l)))
		}
	}
	if rest > 0 {
		parts = append(parts, say("and {} more lines", rest))
	}
	return join("; ", parts...)
}

// place is path:line:column.
func place(f schemas.Finding) line {
	p := f.Position
	if p.Path == "" {
		if f.Document.Path == "" {
			return nil
		}
		return source(f.Document)
	}
	return position(p.Path, p.Line, p.Column)
}

func position(path string, l, column int) line {
	switch {
	case path == "":
		return nil
	case l == 0:
		return say("{}", name(path))
	case column == 0:
		return say("{}", name(fmt.Sprintf("%s:%d", path, l)))
	}
	return say("{}", name(fmt.Sprintf("%s:%d:%d", path, l, column)))
}
