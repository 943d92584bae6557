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

// reader reads an application.
type reader struct {
	settings settings
	http     *rest.Client
	lister   connectors.Lister
	found    *manner // cached by the method manner
}

// manner holds the application's capabilities: those of its ServiceProviderConfig, otherwise the profile's.
type manner struct {
	patch, put, filter, etag bool
	page                     int
}

// manner reads the ServiceProviderConfig, once.
func (r *reader) manner(ctx context.Context) (*manner, error) {
	if r.found != nil {
		return r.found, nil
	}
	p := r.settings.profile
	m := manner{patch: p.patch, put: p.put, filter: p.filter, page: p.page}
	var config abilities
	_, _, err := r.http.JSON(ctx, rest.Request{Op: "read the application's ServiceProviderConfig", Method: http.MethodGet, Path: "ServiceProviderConfig"}, &config)
	var status *rest.StatusError
	switch {
	case err == nil:
		if config.Patch != nil {
			m.patch = bool(config.Patch.Supported)
		}
		if config.Filter != nil {
			m.filter = bool(config.Filter.Supported)
			if config.Filter.MaxResults > 0 {
				m.page = min(m.page, config.Filter.MaxResults)
			}
		}
		m.etag = config.ETag != nil && bool(config.ETag.Supported)
	case errors.As(err, &status) && (status.Status == http.StatusNotFound || status.Status == http.StatusForbidden || status.Status == http.StatusGone ||
		connectors.CodeOf(err) == connectors.Unsupported || connectors.CodeOf(err) == connectors.Invalid):
		// There is none, or the credential can't read it.
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

// tries bounds how often a list is read again because it changed in the meantime.
const tries = 3

// maxPages bounds a list.
const maxPages = 1_000_000

// list reads all resources of an endpoint, or those that match a filter. incomplete is the reason why there may be
// more than it returns.
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

// ask requests one page.
func (r *reader) ask(ctx context.Context, endpoint, filter string, q url.Values) (page, error) {
	op := "read the " + strings.ToLower(endpoint)
	if filter != "" {
		q.Set("filter", filter)
	}
	var p page
	if _, _, err := r.http.JSON(ctx, rest.Request{Op: op, Method: http.MethodGet, Path: endpoint, Query: q}, &p); err != nil {
		return page{}, err
	}
	// With cursors the total is optional. Then the answer must have resources or the schema of a list.
	list := p.Total != nil || r.settings.profile.paging == pagingByCursor && (p.Resources != nil || slices.Contains(p.Schemas, listMessage))
	if !list {
		return page{}, r.strange(op, nil)
	}
	return p, nil
}

// strange returns the error for an answer that isn't a SCIM answer.
func (r *reader) strange(op string, err error) error {
	return &connectors.Error{Code: connectors.Unavailable, Op: op, Err: err, Message: "invalid SCIM answer; check config.url, and that no proxy answers in the application's place"}
}

func (r *reader) byIndex(ctx context.Context, endpoint, filter string) (out []json.RawMessage, incomplete string, err error) {
	m, err := r.manner(ctx)
	if err != nil {
		return nil, "", err
	}
	what := strings.ToLower(endpoint)
	seen := map[string]bool{}
	total, next := -1, 1
	perPage := true // each total so far counts only the resources on its page, as some servers do
	for range maxPages {
		q := url.Values{}
		if r.settings.profile.paging == pagingByIndex {
			q.Set("startIndex", strconv.Itoa(next))
			q.Set("count", strconv.Itoa(m.page))
		}
		p, err := r.ask(ctx, endpoint, filter, q)
		if total == len(out) && next > 1 && past(err) {
			return out, "", nil // it rejects requests beyond its total
		}
		if err != nil {
			return nil, "", err
		}
		n := len(p.Resources)
		if n == 0 && next > 1 && (perPage || total == len(out)) && (*p.Total == 0 || *p.Total == total) {
			return out, "", nil // beyond the end
		}
		if perPage = perPage && *p.Total == n; total >= 0 && *p.Total != total && !perPage {
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
		switch {
		case n > 0 && repeated == n && len(out) == total:
			return out, "", nil // paging is ignored: the first page had everything
		case n > 0 && repeated == n:
			return out, fmt.Sprintf("every page has the same %d of %d %s", len(out), total, what), nil
		case repeated > 0:
			return out, fmt.Sprintf("the pages of %s overlap: they changed while they were read", what), nil
		case n == 0 && len(out) < total:
			return out, fmt.Sprintf("the application returned %d of %d %s", len(out), total, what), nil
		case len(out) > total && !perPage:
			return out, fmt.Sprintf("the application returned %d %s with a total of %d", len(out), what, total), nil
		case n == 0, len(out) == total && (r.settings.profile.paging != pagingByIndex || filter != "" && n <= 1):
			return out, "", nil
		default:
			// At the total, too, the next page shows whether the total counts only a page, whose size the server can limit.
			next += n
		}
	}
	return out, "the pages of " + what + " do not end", nil
}

// past reports whether an error may mean that the page doesn't exist.
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
			if !seen[string(id.ID)] { // a resource that moved to a later page counts once
				seen[string(id.ID)] = true
				out = append(out, raw)
			}
		}
		switch cursor = p.Next; {
		case cursor == "" && p.Total != nil && *p.Total > len(out):
			return out, fmt.Sprintf("the application returned %d of %d %s", len(out), *p.Total, what), nil
		case cursor == "":
			return out, "", nil
		case cursors[cursor]:
			return out, "the pages of " + what + " repeat", nil
		}
		cursors[cursor] = true
	}
	return out, "the pages of " + what + " do not end", nil
}

// find reads the resources whose attribute has a value, by a filter. If usable is false, the application doesn't
// support the filter, and the caller has to search the complete list.
func (r *reader) find(ctx context.Context, endpoint, attribute, value string) (resources []json.RawMessage, usable bool, err error) {
	m, err := r.manner(ctx)
	if err != nil {
		return nil, false, err
	}
	if r.settings.profile.paging == pagingNoLists && !plain(value) {
		return nil, false, &connectors.Error{Code: connectors.Unsupported, Op: "look up a name", Message: "the name " + strconv.QuoteToASCII(value) +
			" has characters that servers interpret differently in filters, and " + r.settings.profile.title + " doesn't list resources"}
	}
	switch {
	case !m.filter && r.settings.profile.paging == pagingNoLists:
		return nil, false, &connectors.Error{Code: connectors.Unsupported, Op: "look up a name", Message: "the application doesn't announce filters, and " +
			r.settings.profile.title + " doesn't list resources; if it supports filters, set config.filter to always"}
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
		return nil, false, &connectors.Error{Code: connectors.Unavailable, Op: "look up a name", Message: incomplete}
	case incomplete != "":
		return nil, false, nil // the complete list has the same problem, or is right
	}
	return resources, true, nil
}

// get reads one resource; ok is false if it doesn't exist.
func (r *reader) get(ctx context.Context, endpoint, id string) (body []byte, header http.Header, ok bool, err error) {
	resp, _, err := r.http.Do(ctx, rest.Request{Op: "read one of the " + strings.ToLower(endpoint), Method: http.MethodGet, Path: endpoint + "/" + url.PathEscape(id)})
	var status *rest.StatusError
	switch {
	case connectors.CodeOf(err) == connectors.NotFound && errors.As(err, &status) && bytes.HasPrefix(bytes.TrimSpace(status.Body), []byte("<")):
		return nil, nil, false, r.strange("read one of the "+strings.ToLower(endpoint), err) // an HTML page
	case connectors.CodeOf(err) == connectors.NotFound:
		return nil, nil, false, nil
	case err != nil:
		return nil, nil, false, err
	}
	return resp.Body, resp.Header, true, nil
}

// group reads one group, with its members where the application shows them.
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
	return g, true, r.complete(g)
}

// complete returns an error for a group of which the application shows only some members.
func (r *reader) complete(g group) error {
	if p := r.settings.profile; p.shown > 0 && len(g.members) >= p.shown {
		return &connectors.Error{Code: connectors.Unsupported, Op: "read the group " + strconv.QuoteToASCII(g.name),
			Message: fmt.Sprintf("%s shows at most %d members of a group, so its other members are unknown", p.title, p.shown)}
	}
	return nil
}

// holds reports whether an id is a member of a group that doesn't show its members.
func (r *reader) holds(ctx context.Context, g, id string) (bool, error) {
	list, incomplete, err := r.list(ctx, endGroups, "id eq "+quoted(g)+" and members eq "+quoted(id))
	if err != nil {
		return false, err
	}
	if incomplete != "" {
		return false, &connectors.Error{Code: connectors.Unavailable, Op: "look up a member", Message: incomplete}
	}
	for _, raw := range list {
		found, err := decodeGroup(raw)
		if err != nil {
			return false, r.strange("look up a member", err)
		}
		if found.id != g {
			// A server that ignores the filter would make everybody a member of everything.
			return false, r.strange("look up a member", errors.New("the answer has a group that doesn't match the filter"))
		}
	}
	return len(list) > 0, nil
}
