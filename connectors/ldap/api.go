package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
)

// session is a connection with a logged-in account. A lost connection is opened again.
type session struct {
	settings *settings
	conn     *goldap.Conn // nil when there is none
	raw      net.Conn
	calls    int // requests sent, for benchmarks

	root rootDSE
	// between intercepts searches in tests; otherwise nil.
	between func(conversation) conversation
}

// rootDSE is the server's description of itself (RFC 4512, 5.1).
type rootDSE struct {
	known    bool
	ad       bool
	controls map[string]bool
	contexts []string // naming contexts, the default first
	vendor   string
}

// Object identifiers of controls and capabilities.
const (
	controlAssertion   = "1.3.6.1.1.12"            // RFC 4528
	controlDomainScope = "1.2.840.113556.1.4.1339" // no referrals to other partitions of a forest
	capabilityAD       = "1.2.840.113556.1.4.800"
)

// connect dials and logs in.
func (c *session) connect(ctx context.Context) error {
	const op = "log in to the directory"
	ctx, cancel := context.WithTimeout(ctx, c.settings.Timeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.settings.URL.address)
	if err != nil {
		return c.wrap(op, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() }) // pending calls fail
	defer stop()
	config := c.settings.tls.Clone()
	way := raw
	if c.settings.URL.tls {
		secured := tls.Client(raw, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = raw.Close() // the handshake's error matters more
			return c.wrap(op, err)
		}
		way = secured
	}
	conn := goldap.NewConn(way, c.settings.URL.tls)
	conn.SetTimeout(c.settings.Timeout)
	conn.Start()
	fail := func(err error) error {
		_ = raw.Close()
		_ = conn.Close()
		return c.wrap(op, err)
	}
	if c.settings.StartTLS {
		if err := conn.StartTLS(config); err != nil {
			return fail(err)
		}
	}
	c.calls++
	if err := conn.Bind(c.settings.login.BindDN, c.settings.login.Password.Reveal()); err != nil {
		return fail(err)
	}
	if !stop() {
		return fail(ctx.Err())
	}
	c.conn, c.raw = conn, raw
	return nil
}

// close closes the connection, if there is one. No request is pending, so errors don't matter.
func (c *session) close() {
	if c.conn == nil {
		return
	}
	// The library waits for its goroutines, which can hang on a dead peer. Closing the connection ends them.
	_ = c.raw.Close()
	_ = c.conn.Close()
	c.conn, c.raw = nil, nil
}

// tries bounds how often an unanswered request is sent.
const tries = 3

// do calls f with a connection and opens one if necessary. It retries f if there was no answer, since all requests
// of this package are idempotent.
func (c *session) do(ctx context.Context, op string, f func(*goldap.Conn) error) error {
	for n := 1; ; n++ {
		if err := connectors.Stopped(ctx, op); err != nil {
			return err
		}
		began := time.Now()
		err := c.once(ctx, f)
		if ctx.Err() != nil {
			return connectors.Stopped(ctx, op)
		}
		// Never retry after a timeout.
		if err == nil || n == tries || !repeatable(err) || time.Since(began) >= c.settings.Timeout {
			return c.wrap(op, err)
		}
		select {
		case <-ctx.Done():
			return connectors.Stopped(ctx, op)
		case <-time.After(time.Duration(n*n) * 100 * time.Millisecond):
		}
	}
}

func (c *session) once(ctx context.Context, f func(*goldap.Conn) error) error {
	if c.conn == nil || c.conn.IsClosing() {
		c.close()
		if err := c.connect(ctx); err != nil {
			return err
		}
	}
	raw := c.raw
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	err := f(c.conn)
	if !stop() || lost(err) {
		c.close()
	}
	return err
}

// lost reports whether an error leaves the connection in an unknown state.
func lost(err error) bool {
	var e *goldap.Error
	var known *connectors.Error
	switch {
	case err == nil, errors.As(err, &known):
		return false
	case errors.As(err, &e):
		return e.ResultCode >= goldap.ErrorNetwork || e.ResultCode == goldap.LDAPResultUnavailable || e.ResultCode == goldap.LDAPResultProtocolError
	}
	return true
}

func repeatable(err error) bool {
	var known *connectors.Error
	if errors.As(err, &known) {
		return known.Code == connectors.Unavailable && (lost(known.Err) || busy(known.Err))
	}
	return lost(err) || busy(err)
}

func busy(err error) bool {
	return goldap.IsErrorAnyOf(err, goldap.LDAPResultBusy, goldap.LDAPResultUnavailable)
}

// wrap gives an error its code. The message quotes the server, except about logins.
func (c *session) wrap(op string, err error) error {
	var known *connectors.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	out := &connectors.Error{Op: op, Err: err, Code: connectors.Unavailable}
	var e *goldap.Error
	var unknown x509Error
	var net net.Error
	switch {
	case errors.As(err, &e) && e.ResultCode < goldap.ErrorNetwork:
		out.Code, out.Message = codeOf(e.ResultCode), c.explain(e)
	case errors.Is(err, context.Canceled):
		out.Message = "stopped"
	case unknown.in(err):
		out.Code, out.Message = connectors.Denied, "the server's certificate is not trusted; check that ca_file is its authority, and that the certificate is for this host"
	case errors.As(err, &net), errors.Is(err, context.DeadlineExceeded):
		out.Message = "can't reach the server, or it doesn't answer; check that it runs, and config.url"
	default:
		out.Message = "lost the connection to the server, or the server isn't a directory"
	}
	return out
}

// x509Error finds certificate errors, also those that the library passes on as text.
type x509Error struct{}

func (x509Error) in(err error) bool {
	var verification *tls.CertificateVerificationError
	return errors.As(err, &verification) || strings.Contains(err.Error(), "x509: ") // StartTLS keeps only the text
}

func (c *session) explain(e *goldap.Error) string {
	name := strings.ToLower(goldap.LDAPResultCodeMap[e.ResultCode])
	what := fmt.Sprintf("the directory answers %q (%d)", name, e.ResultCode)
	switch e.ResultCode {
	case goldap.LDAPResultInvalidCredentials, goldap.LDAPResultInappropriateAuthentication:
		return what + "; check bind_dn and password in the config"
	case goldap.LDAPResultConfidentialityRequired, goldap.LDAPResultStrongAuthRequired:
		return what + "; TLS is required: use ldaps:// or start_tls"
	case goldap.LDAPResultInsufficientAccessRights:
		return what + "; the account lacks the right: countersign schema ldap --scripts shows all that it needs"
	case goldap.LDAPResultSizeLimitExceeded, goldap.LDAPResultAdminLimitExceeded:
		return what + "; the server limits how much the account can read: raise the limit for it, or narrow base_dn and the filters"
	case goldap.LDAPResultReferral:
		return what + "; another server has this part of the tree: set config.url to it"
	}
	if e.Err != nil {
		if text := strings.TrimSpace(strings.Map(printable, e.Err.Error())); text != "" {
			return what + ": " + text[:min(len(text), 300)]
		}
	}
	return what
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return -1
}

// codeOf maps result codes (RFC 4511, appendix A).
func codeOf(code uint16) connectors.Code {
	switch code {
	case goldap.LDAPResultNoSuchObject:
		return connectors.NotFound
	case goldap.LDAPResultEntryAlreadyExists, goldap.LDAPResultNotAllowedOnNonLeaf, goldap.LDAPResultAttributeOrValueExists,
		goldap.LDAPResultNoSuchAttribute, goldap.LDAPResultAssertionFailed, goldap.LDAPResultAffectsMultipleDSAs:
		return connectors.Conflict
	case goldap.LDAPResultInvalidCredentials, goldap.LDAPResultInsufficientAccessRights, goldap.LDAPResultInappropriateAuthentication,
		goldap.LDAPResultStrongAuthRequired, goldap.LDAPResultConfidentialityRequired, goldap.LDAPResultAuthMethodNotSupported,
		goldap.LDAPResultSizeLimitExceeded, goldap.LDAPResultAdminLimitExceeded:
		return connectors.Denied
	case goldap.LDAPResultBusy, goldap.LDAPResultUnavailable, goldap.LDAPResultTimeLimitExceeded, goldap.LDAPResultOther,
		goldap.LDAPResultOperationsError, goldap.LDAPResultProtocolError:
		return connectors.Unavailable
	case goldap.LDAPResultReferral, goldap.LDAPResultUnavailableCriticalExtension:
		return connectors.Unsupported
	}
	return connectors.Invalid
}

// discover reads the server's root entry.
func (c *session) discover(ctx context.Context) error {
	if c.root.known {
		return nil
	}
	const op = "read the directory's root entry"
	var found *goldap.SearchResult
	err := c.do(ctx, op, func(conn *goldap.Conn) (err error) {
		c.calls++
		found, err = conn.Search(goldap.NewSearchRequest("", goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)",
			[]string{"supportedControl", "supportedCapabilities", "namingContexts", "defaultNamingContext", "vendorName", "vendorVersion"}, nil))
		return err
	})
	if err != nil {
		return err
	}
	if len(found.Entries) != 1 {
		return &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "could not read the root entry; check that the account can read it"}
	}
	e := found.Entries[0]
	c.root = rootDSE{known: true, controls: map[string]bool{}, contexts: append(e.GetEqualFoldAttributeValues("defaultNamingContext"), e.GetEqualFoldAttributeValues("namingContexts")...),
		vendor: strings.TrimSpace(e.GetEqualFoldAttributeValue("vendorName") + " " + e.GetEqualFoldAttributeValue("vendorVersion"))}
	for _, oid := range e.GetEqualFoldAttributeValues("supportedControl") {
		c.root.controls[oid] = true
	}
	c.root.ad = c.settings.Flavour == flavourAD
	if c.settings.Flavour == "" {
		c.root.ad = slices.Contains(e.GetEqualFoldAttributeValues("supportedCapabilities"), capabilityAD)
	}
	return nil
}

// maxPages bounds the pages of a search.
const maxPages = 100_000

// conversation is the part of a connection that a search uses.
type conversation interface {
	Search(*goldap.SearchRequest) (*goldap.SearchResult, error)
}

var _ conversation = (*goldap.Conn)(nil)

// query is a search.
type query struct {
	op         string // its purpose, for errors
	base       string
	scope      int
	filter     string
	attributes []string
	most       int  // fail with errMore on more entries; 0: unlimited
	partial    bool // leave out what other servers have
}

// errMore is returned if there are more entries than a query wants.
var errMore = &connectors.Error{Code: connectors.Unavailable, Op: "search", Message: "there are more entries than expected"}

// search returns all entries that match a filter, read by pages (RFC 2696). It never returns a partial result.
func (c *session) search(ctx context.Context, q query) ([]*goldap.Entry, error) {
	var out []*goldap.Entry
	err := c.do(ctx, q.op, func(conn *goldap.Conn) (err error) {
		var talk conversation = conn
		if c.between != nil {
			talk = c.between(conn)
		}
		out, err = c.pages(talk, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (c *session) pages(conn conversation, q query) ([]*goldap.Entry, error) {
	paging := goldap.NewControlPaging(c.settings.PageSize)
	controls := []goldap.Control{paging}
	if c.root.ad && c.root.controls[controlDomainScope] {
		controls = append(controls, goldap.NewControlString(controlDomainScope, false, ""))
	}
	req := goldap.NewSearchRequest(q.base, q.scope, goldap.NeverDerefAliases, 0, 0, false, q.filter, q.attributes, controls)
	var out []*goldap.Entry
	for range maxPages {
		c.calls++
		res, err := conn.Search(req)
		if err != nil {
			return nil, err
		}
		if len(res.Referrals) > 0 && !q.partial {
			return nil, &connectors.Error{Code: connectors.Unsupported, Op: q.op, Message: "another server has a part of this tree; narrow base_dn and user_base_dn to the part on this server"}
		}
		for _, e := range res.Entries {
			if err := c.complete(conn, e); err != nil {
				return nil, err
			}
		}
		out = append(out, res.Entries...)
		next, ok := goldap.FindControl(res.Controls, goldap.ControlTypePaging).(*goldap.ControlPaging)
		if !ok || len(next.Cookie) == 0 {
			return out, nil
		}
		if q.most > 0 && len(out) > q.most {
			return nil, errMore
		}
		if len(res.Entries) == 0 && string(next.Cookie) == string(paging.Cookie) {
			break
		}
		paging.SetCookie(next.Cookie)
	}
	return nil, &connectors.Error{Code: connectors.Unavailable, Op: q.op, Message: "the pages of the answer don't end"}
}

// some reports whether any entry below a base matches a filter.
func (c *session) some(ctx context.Context, op string, base dn, filter string) (bool, error) {
	found := false
	err := c.do(ctx, op, func(conn *goldap.Conn) error {
		c.calls++
		res, err := conn.Search(goldap.NewSearchRequest(base.text, goldap.ScopeWholeSubtree, goldap.NeverDerefAliases, 1, 0, false, filter, []string{"1.1"}, nil))
		found = res != nil && len(res.Entries) > 0
		if found && goldap.IsErrorWithCode(err, goldap.LDAPResultSizeLimitExceeded) {
			return nil
		}
		return err
	})
	return found, err
}

// rangeOption matches the option by which Active Directory marks an attribute with only some of its values.
var rangeOption = regexp.MustCompile(`(?i)\A([A-Za-z][A-Za-z0-9-]*);range=([0-9]{1,9})-(\*|[0-9]{1,9})\z`)

// maxRanges bounds the ranges of one attribute.
const maxRanges = 100_000

// complete fetches the values that the answer left out, so that the entry has each attribute once with all values.
func (c *session) complete(conn conversation, e *goldap.Entry) error {
	var kept []*goldap.EntryAttribute
	ranged := map[string]*goldap.EntryAttribute{}
	for _, a := range e.Attributes {
		m := rangeOption.FindStringSubmatch(a.Name)
		if m == nil {
			kept = append(kept, a)
			continue
		}
		all, err := c.ranges(conn, e.DN, m[1], a)
		if err != nil {
			return err
		}
		ranged[strings.ToLower(m[1])] = all
		kept = append(kept, all)
	}
	if len(ranged) == 0 {
		return nil
	}
	// The answer also has the attribute itself, without values.
	e.Attributes = slices.DeleteFunc(kept, func(a *goldap.EntryAttribute) bool {
		all := ranged[strings.ToLower(a.Name)]
		return all != nil && all != a && len(a.Values) == 0
	})
	return nil
}

func (c *session) ranges(conn conversation, entry, name string, first *goldap.EntryAttribute) (*goldap.EntryAttribute, error) {
	broken := &connectors.Error{Code: connectors.Unavailable, Op: "read the values of " + name, Message: "the directory returns them in ranges that don't match or don't end"}
	out := &goldap.EntryAttribute{Name: name}
	part := first
	for range maxRanges {
		var from, to int
		m := rangeOption.FindStringSubmatch(part.Name)
		if m == nil || !strings.EqualFold(m[1], name) {
			return nil, broken
		}
		if _, err := fmt.Sscan(m[2], &from); err != nil || from != len(out.Values) {
			return nil, broken
		}
		out.Values, out.ByteValues = append(out.Values, part.Values...), append(out.ByteValues, part.ByteValues...)
		if m[3] == "*" {
			return out, nil
		}
		if _, err := fmt.Sscan(m[3], &to); err != nil || len(part.Values) == 0 || to != len(out.Values)-1 {
			return nil, broken
		}
		c.calls++
		res, err := conn.Search(goldap.NewSearchRequest(entry, goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)",
			[]string{fmt.Sprintf("%s;range=%d-*", name, to+1)}, nil))
		if err != nil {
			return nil, err
		}
		part = nil
		if len(res.Entries) == 1 {
			for _, a := range res.Entries[0].Attributes {
				if rangeOption.MatchString(a.Name) {
					part = a
				}
			}
		}
		if part == nil {
			return nil, broken
		}
	}
	return nil, broken
}
