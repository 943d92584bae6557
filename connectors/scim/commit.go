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

// change is a set of changes to one group.
type change struct {
	add      []entry
	remove   []string // ids
	external *string  // the new externalId; "" removes it
}

// entry is a member to add.
type entry struct{ id, typ string }

// done reports whether the group already has the change.
func (c change) done(g group) bool {
	return !slices.ContainsFunc(c.add, func(e entry) bool { return !g.has(e.id) }) && !slices.ContainsFunc(c.remove, g.has) &&
		(c.external == nil || g.external == *c.external)
}

// commit applies a change to a group that was just read.
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
		m.patch = false // assumed or announced, but not supported
	}
	if puts {
		n, err := w.put(ctx, op, g, c, m.etag)
		return attempts + n, err
	}
	return 1, &connectors.Error{Code: connectors.Unsupported, Op: op, Message: "the application supports neither PATCH nor PUT of groups"}
}

// operation is one of a PatchOp message (RFC 7644, 3.5.2).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// reference is a member as it is sent. Users are sent without a type, which some servers reject.
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
	// An addition that is sent twice may be stored twice, so the caller reads the group after an error.
	_, attempts, err = w.http.Do(ctx, rest.Request{Op: op, Method: http.MethodPatch, Path: endGroups + "/" + url.PathEscape(g.id), Body: body, OneTime: true})
	return attempts, err
}

// rounds bounds how often a PUT is tried that other writers interfere with.
const rounds = 6

// put replaces a group by its last read state with the change applied and everything else kept.
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
			return attempts, &connectors.Error{Code: connectors.Conflict, Op: op, Message: "the group was renamed or deleted in the meantime"}
		}
		if c.done(g) {
			return attempts, nil
		}
	}
	return attempts, &connectors.Error{Code: connectors.Conflict, Op: op, Message: "another writer keeps changing this group; run again later"}
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

// replaced returns the group to send: other attributes are unchanged, meta is left out since the server sets it.
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
		keep = []json.RawMessage{} // an absent list may mean no change
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
