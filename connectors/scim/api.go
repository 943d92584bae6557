package scim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
)

// The endpoints below the API's root.
const (
	endUsers      = "Users"
	endGroups     = "Groups"
	endPrincipals = "ServicePrincipals"
)

// reader asks an application.
type reader struct {
	settings settings
	http     *rest.Client
	lister   connectors.Lister
	found    *manner // how the application is to be treated, once it was asked
}

// manner is how the application is to be treated: what it says of itself, else what the profile assumes.
type manner struct {
	patch, put, filter, etag bool
	page                     int
}

// manner asks for the ServiceProviderConfig, once.
func (r *reader) manner(ctx context.Context) (*manner, error) {
	if r.found != nil {
		return r.found, nil
	}
	p := r.settings.profile
	m := manner{patch: p.patch, put: p.put, filter: p.filter, page: p.page}
	var said abilities
	_, _, err := r.http.JSON(ctx, rest.Request{Op: "read the application's ServiceProviderConfig", Method: http.MethodGet, Path: "ServiceProviderConfig"}, &said)
	var status *rest.StatusError
	switch {
	case err == nil:
		if said.Patch != nil {
			m.patch = bool(said.Patch.Supported)
		}
		if said.Filter != nil {
			m.filter = bool(said.Filter.Supported)
			if said.Filter.MaxResults > 0 {
				m.page = min(m.page, said.Filter.MaxResults)
			}
		}
		m.etag = said.ETag != nil && bool(said.ETag.Supported)
	case errors.As(err, &status) && (status.Status == http.StatusNotFound || status.Status == http.StatusForbidden || status.Status == http.StatusGone ||
		connectors.CodeOf(err) == connectors.Unsupported || connectors.CodeOf(err) == connectors.Invalid):
		// It has none, or keeps it to itself.
	default:
		return nil, err
	}
	if r.settings.PageSize > 0 {
		m.page = r.settings.PageSize
	}
	switch r.settings.Write {
	case "patch":
		m.patch = true
	case "put":
		m.patch, m.put = false, true
	}
	switch r.settings.Filter {
	case "always":
		m.filter = true
	case "never":
		m.filter = p.paging == pagingNoLists
	}
	r.found = &m
	return r.found, nil
}

// tries is how often a list is read anew when it changed meanwhile.
const tries = 3

// maxPages bounds a list.
const maxPages = 1_000_000

// list reads all resources of an endpoint, or those that a filter finds. incomplete says why they may not be all:
// what is there is there, but more may be.
func (r *reader) list(ctx context.Context, endpoint, filter string) (resources []json.RawMessage, incomplete string, err error) {
	for range tries {
		if r.settings.profile.paging == pagingByCursor {
			return r.byCursor(ctx, endpoint, filter)
		}
		if resources, incomplete, err = r.byIndex(ctx, endpoint, filter); err != nil || incomplete == "" {
			return resources, "", err
		}
	}
	return resources, incomplete, nil
}

// ask is one request for a page.
func (r *reader) ask(ctx context.Context, endpoint, filter string, q url.Values) (page, error) {
	op := "read the " + strings.ToLower(endpoint)
	if filter != "" {
		q.Set("filter", filter)
	}
	var p page
	if _, _, err := r.http.JSON(ctx, rest.Request{Op: op, Method: http.MethodGet, Path: endpoint, Query: q}, &p); err != nil {
		return page{}, err
	}
	// With cursors the total may be left out. Then the answer has resources, or says that it is a list.
	list := p.Total != nil || r.settings.profile.paging == pagingByCursor && (p.Resources != nil || slices.Contains(p.Schemas, listMessage))
	if !list {
		return page{}, r.strange(op, nil)
	}
	return p, nil
}

// strange is the error of an answer that is no answer of this API.
func (r *reader) strange(op string, err error) error {
	return &connectors.Error{Code: connectors.Unavailable, Op: op, Err: err, Message: "the answer is not what SCIM gives: is config.url right, and nothing else in between?"}
}

func (r *reader) byIndex(ctx context.Context, endpoint, filter string) (out []json.RawMessage, incomplete string, err error) {
	m, err := r.manner(ctx)
	if err != nil {
		return nil, "", err
	}
	what := strings.ToLower(endpoint)
	seen := map[string]bool{}
	total, next := -1, 1
	for range maxPages {
		q := url.Values{}
		if r.settings.profile.paging == pagingByIndex {
			q.Set("startIndex", strconv.Itoa(next))
			q.Set("count", strconv.Itoa(m.page))
		}
		p, err := r.ask(ctx, endpoint, filter, q)
		if total == len(out) && next > 1 && past(err) {
			return out, "", nil // it minds being asked for more than it said that it has
		}
		if err != nil {
			return nil, "", err
		}
		if total >= 0 && *p.Total != total {
			return out, fmt.Sprintf("the number of %s changed from %d to %d while they were read", what, total, *p.Total), nil
		}
		total = *p.Total
		repeated := 0
		for _, raw := range p.Resources {
			var id struct {
				ID text `json:"id"`
			}
			if err := json.Unmarshal(raw, &id); err != nil || id.ID == "" {
				return nil, "", r.strange("read the "+what, err)
			}
			if seen[string(id.ID)] {
				repeated++
				continue
			}
			seen[string(id.ID)] = true
			out = append(out, raw)
		}
		switch n := len(p.Resources); {
		case n > 0 && repeated == n && len(out) == total:
			return out, "", nil // paging is ignored: the first page had everything
		case n > 0 && repeated == n:
			return out, fmt.Sprintf("the application answers with the same %d of %d %s to each page", len(out), total, what), nil
		case repeated > 0:
			return out, fmt.Sprintf("pages of %s overlap: they changed while they were read", what), nil
		case n == 0 && len(out) < total:
			return out, fmt.Sprintf("the application gave %d of %d %s", len(out), total, what), nil
		case len(out) > total:
			return out, fmt.Sprintf("the application gave %d %s, and says that there are %d", len(out), what, total), nil
		case n == 0, len(out) == total && (n != m.page || r.settings.profile.paging != pagingByIndex):
			return out, "", nil
		default:
			// A full page that ends at the total may be a server that counts the page and not the whole: the
			// next page tells.
			next += n
		}
	}
	return out, "the pages of " + what + " do not end", nil
}

// past says that an error may mean that there is no such page.
func past(err error) bool {
	code := connectors.CodeOf(err)
	return code == connectors.Invalid || code == connectors.NotFound
}

func (r *reader) byCursor(ctx context.Context, endpoint, filter string) (out []json.RawMessage, incomplete string, err error) {
	m, err := r.manner(ctx)
	if err != nil {
		return nil, "", err
	}
	what := strings.ToLower(endpoint)
	cursors, seen := map[string]bool{}, map[string]bool{}
	cursor := ""
	for range maxPages {
		p, err := r.ask(ctx, endpoint, filter, url.Values{"cursor": {cursor}, "count": {strconv.Itoa(m.page)}})
		if err != nil {
			return nil, "", err
		}
		for _, raw := range p.Resources {
			var id struct {
				ID text `json:"id"`
			}
			if err := json.Unmarshal(raw, &id); err != nil || id.ID == "" {
				return nil, "", r.strange("read the "+what, err)
			}
			if !seen[string(id.ID)] { // what moved to a later page meanwhile is one all the same
				seen[string(id.ID)] = true
				out = append(out, raw)
			}
		}
		switch cursor = p.Next; {
		case cursor == "" && p.Total != nil && *p.Total > len(out):
			return out, fmt.Sprintf("the application gave %d of %d %s", len(out), *p.Total, what), nil
		case cursor == "":
			return out, "", nil
		case cursors[cursor]:
			return out, "the pages of " + what + " go in a circle", nil
		}
		cursors[cursor] = true
	}
	return out, "the pages of " + what + " do not end", nil
}

// find reads the resources whose attribute has a value, by a filter. usable is false where the application does not
// filter so: the caller looks through the whole list then.
func (r *reader) find(ctx context.Context, endpoint, attribute, value string) (resources []json.RawMessage, usable bool, err error) {
	m, err := r.manner(ctx)
	if err != nil {
		return nil, false, err
	}
	if r.settings.profile.paging == pagingNoLists && !plain(value) {
		return nil, false, &connectors.Error{Code: connectors.Unsupported, Op: "look a name up", Message: "the name " + strconv.QuoteToASCII(value) +
			" has characters that servers read in their own way in a filter, and " + r.settings.profile.title + " has no list to look through"}
	}
	switch {
	case !m.filter && r.settings.profile.paging == pagingNoLists:
		return nil, false, &connectors.Error{Code: connectors.Unsupported, Op: "look a name up", Message: "the application says that it has no filters, and " +
			r.settings.profile.title + " has no list to look through: if it has some, let config.filter be always"}
	case !m.filter || !plain(value):
		return nil, false, nil
	}
	resources, incomplete, err := r.list(ctx, endpoint, attribute+" eq "+quoted(value))
	switch code := connectors.CodeOf(err); {
	case code == connectors.Invalid || code == connectors.Unsupported:
		if r.settings.profile.paging == pagingNoLists {
			return nil, false, err
		}
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case incomplete != "" && r.settings.profile.paging == pagingNoLists:
		return nil, false, &connectors.Error{Code: connectors.Unavailable, Op: "look a name up", Message: incomplete}
	case incomplete != "":
		return nil, false, nil // the whole list will say the same, or be right
	}
	return resources, true, nil
}

// get reads one resource; ok is false when it is not there.
func (r *reader) get(ctx context.Context, endpoint, id string) (body []byte, header http.Header, ok bool, err error) {
	resp, _, err := r.http.Do(ctx, rest.Request{Op: "read one of the " + strings.ToLower(endpoint), Method: http.MethodGet, Path: endpoint + "/" + url.PathEscape(id)})
	var status *rest.StatusError
	switch {
	case connectors.CodeOf(err) == connectors.NotFound && errors.As(err, &status) && bytes.HasPrefix(bytes.TrimSpace(status.Body), []byte("<")):
		return nil, nil, false, r.strange("read one of the "+strings.ToLower(endpoint), err) // a page for people
	case connectors.CodeOf(err) == connectors.NotFound:
		return nil, nil, false, nil
	case err != nil:
		return nil, nil, false, err
	}
	return resp.Body, resp.Header, true, nil
}

// group reads one group with its members, but where the application never shows them.
func (r *reader) group(ctx context.Context, id string) (g group, ok bool, err error) {
	body, header, ok, err := r.get(ctx, endGroups, id)
	if err != nil || !ok {
		return group{}, false, err
	}
	if g, err = decodeGroup(body); err != nil || g.id != id {
		return group{}, false, r.strange("read a group", err)
	}
	if v := header.Get("ETag"); v != "" {
		g.version = v
	}
	return g, true, r.whole(g)
}

// whole refuses a group of which the application shows a part only.
func (r *reader) whole(g group) error {
	if p := r.settings.profile; p.shown > 0 && len(g.members) >= p.shown {
		return &connectors.Error{Code: connectors.Unsupported, Op: "read the group " + strconv.QuoteToASCII(g.name),
			Message: fmt.Sprintf("%s shows no more than %d members of a group, so that nobody knows who else is in it", p.title, p.shown)}
	}
	return nil
}

// holds asks whether somebody is in a group that does not show its members.
func (r *reader) holds(ctx context.Context, g, id string) (bool, error) {
	list, incomplete, err := r.list(ctx, endGroups, "id eq "+quoted(g)+" and members eq "+quoted(id))
	if err != nil {
		return false, err
	}
	if incomplete != "" {
		return false, &connectors.Error{Code: connectors.Unavailable, Op: "ask who is in a group", Message: incomplete}
	}
	for _, raw := range list {
		found, err := decodeGroup(raw)
		if err != nil {
			return false, r.strange("ask who is in a group", err)
		}
		if found.id != g {
			// Whoever ignores a filter would make everybody a member of everything.
			return false, r.strange("ask who is in a group", errors.New("the answer has another group than the one asked for"))
		}
	}
	return len(list) > 0, nil
}
