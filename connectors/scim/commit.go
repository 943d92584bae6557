package scim

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
)

// change is what is done to a group in one go.
type change struct {
	add      []entry
	remove   []string // ids
	external *string  // the new externalId; "" takes it away
}

// entry is a member to be.
type entry struct{ id, typ string }

// done says whether a group is as the change leaves it.
func (c change) done(g group) bool {
	return !slices.ContainsFunc(c.add, func(e entry) bool { return !g.has(e.id) }) && !slices.ContainsFunc(c.remove, g.has) &&
		(c.external == nil || g.external == *c.external)
}

// commit changes a group that was just read.
func (w *writer) commit(ctx context.Context, op string, g group, c change) (attempts int, err error) {
	m, err := w.manner(ctx)
	if err != nil {
		return 1, err
	}
	puts := m.put && w.settings.profile.members != membersByFilter // a PUT needs all members, to keep them
	if m.patch {
		attempts, err = w.patch(ctx, op, g, c)
		if connectors.CodeOf(err) != connectors.Unsupported || !puts || w.settings.Write == "patch" {
			return attempts, err
		}
		m.patch = false // it was assumed, or promised, and is not so
	}
	if puts {
		n, err := w.put(ctx, op, g, c, m.etag)
		return attempts + n, err
	}
	return 1, &connectors.Error{Code: connectors.Unsupported, Op: op, Message: "the application says that it takes neither PATCH nor PUT of groups"}
}

// operation is one of a PatchOp message (RFC 7644, 3.5.2).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// reference is a member as it is sent. A user needs no type, and some servers mind one.
type reference struct {
	Value string `json:"value"`
	Type  string `json:"type,omitempty"`
}

func referTo(e entry) reference {
	if e.typ == typeGroup {
		return reference{e.id, "Group"}
	}
	return reference{Value: e.id}
}

func (w *writer) patch(ctx context.Context, op string, g group, c change) (attempts int, err error) {
	var list []operation
	if len(c.add) > 0 {
		value := make([]reference, len(c.add))
		for i, e := range c.add {
			value[i] = referTo(e)
		}
		list = append(list, operation{Op: "add", Path: "members", Value: value})
	}
	for _, id := range c.remove {
		list = append(list, operation{Op: "remove", Path: "members[value eq " + quoted(id) + "]"})
	}
	if c.external != nil && *c.external != "" {
		list = append(list, operation{Op: "replace", Path: "externalId", Value: *c.external})
	} else if c.external != nil {
		list = append(list, operation{Op: "remove", Path: "externalId"})
	}
	body := map[string]any{"schemas": []string{patchMessage}, "Operations": list}
	// Sent twice, an addition may be stored twice: after a fault the caller looks first.
	_, attempts, err = w.http.Do(ctx, rest.Request{Op: op, Method: http.MethodPatch, Path: endGroups + "/" + url.PathEscape(g.id), Body: body, OneTime: true})
	return attempts, err
}

// rounds is how often a PUT that somebody else crossed is tried.
const rounds = 6

// put replaces a group by what was read of it with the change made, everything else kept.
func (w *writer) put(ctx context.Context, op string, g group, c change, locked bool) (attempts int, err error) {
	name := g.name
	for range rounds {
		header := http.Header{}
		if locked && g.version != "" {
			header.Set("If-Match", g.version)
		}
		body, err := replaced(g, c)
		if err != nil {
			return attempts, w.strange(op, err)
		}
		_, n, err := w.http.Do(ctx, rest.Request{Op: op, Method: http.MethodPut, Path: endGroups + "/" + url.PathEscape(g.id), Header: header, Body: body, OneTime: true})
		attempts += n
		var status *rest.StatusError
		crossed := errors.As(err, &status) && status.Status == http.StatusPreconditionFailed
		if err != nil && !crossed {
			return attempts, err
		}
		if !crossed && header.Get("If-Match") != "" {
			return attempts, nil
		}
		if !crossed {
			if err := wait(ctx, op, w.settings.Settle); err != nil {
				return attempts, err
			}
		}
		id := g.id
		var there bool
		if g, there, err = w.group(ctx, id); err != nil {
			return attempts, err
		}
		if !there || g.name != name {
			return attempts, &connectors.Error{Code: connectors.Conflict, Op: op, Message: "the group was renamed, or went, in this moment"}
		}
		if c.done(g) {
			return attempts, nil
		}
	}
	return attempts, &connectors.Error{Code: connectors.Conflict, Op: op, Message: "somebody else keeps writing this group: try again when it is quiet"}
}

func wait(ctx context.Context, op string, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return connectors.Stopped(ctx, op)
	case <-t.C:
		return nil
	}
}

// replaced is a group as it is sent back: what is not ours stays as it came. meta is the server's own.
func replaced(g group, c change) ([]byte, error) {
	raw := maps.Clone(g.raw)
	delete(raw, fieldOf(raw, "meta"))
	at := fieldOf(raw, "members")
	var members []json.RawMessage
	if b, ok := raw[at]; ok {
		if err := json.Unmarshal(b, &members); err != nil {
			return nil, err
		}
	}
	var keep []json.RawMessage
	there := map[string]bool{}
	for _, b := range members {
		var m member
		if err := json.Unmarshal(b, &m); err != nil {
			return nil, err
		}
		if slices.Contains(c.remove, string(m.Value)) {
			continue
		}
		there[string(m.Value)] = true
		keep = append(keep, b)
	}
	for _, e := range c.add {
		if there[e.id] {
			continue
		}
		b, err := json.Marshal(referTo(e))
		if err != nil {
			return nil, err
		}
		keep = append(keep, b)
	}
	if keep == nil {
		keep = []json.RawMessage{} // an absent list may mean: leave it
	}
	var err error
	if raw[at], err = json.Marshal(keep); err != nil {
		return nil, err
	}
	if c.external != nil {
		at := fieldOf(raw, "externalId")
		delete(raw, at)
		if *c.external != "" {
			if raw[at], err = json.Marshal(*c.external); err != nil {
				return nil, err
			}
		}
	}
	return json.Marshal(raw)
}
