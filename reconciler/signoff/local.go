package signoff

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/schemas"
)

// LocalConfig configures the local forge.
type LocalConfig struct {
	// Unauthenticated trusts Approved-by trailers without proof. Anyone who can push can write one.
	Unauthenticated bool
	// AllowedSigners is the content, in the base, of the file of SSH keys that count; its path is for messages.
	AllowedSigners     []byte
	AllowedSignersPath string
}

// Local is a repository without a forge: people are identified by e-mail addresses, and the approval is in the commit
// that lands the change.
type Local struct {
	c       LocalConfig
	signers []signer
}

var _ Forge = (*Local)(nil)

// NewLocal reads the allowed signers.
func NewLocal(c LocalConfig) (*Local, error) {
	l := &Local{c: c}
	var err error
	if l.signers, err = parseSigners(c.AllowedSigners); err != nil {
		return nil, fmt.Errorf("%s: %w", c.AllowedSignersPath, err)
	}
	if !c.Unauthenticated && len(l.signers) == 0 {
		return nil, fmt.Errorf("%s lists no signer, so nothing could be signed off", c.AllowedSignersPath)
	}
	return l, nil
}

// Evidence reads the commits, by the rules of the package comment.
func (l *Local) Evidence(_ context.Context, c Change) (schemas.Evidence, error) {
	merge := len(c.Commit.Parents) > 1
	e := schemas.Evidence{Forge: "local", ContentDigest: c.Digest, Approvals: []schemas.Approval{}, MergedBy: fold(c.Commit.Committer.Email)}
	if at := c.Commit.CommittedAt; !at.IsZero() {
		e.MergedAt = &at
	}
	e.Title, _, _ = strings.Cut(c.Commit.Message, "\n")
	if merge {
		e.Head = c.Commit.Parents[1]
	}
	l.contributors(&e, c.Merged, c.Commit)
	if merge {
		for _, p := range history.CoAuthors(c.Commit.Message) {
			addPerson(&e, p)
		}
	}
	if a, ok := l.signature(c, e.Authors); ok {
		e.Approvals = append(e.Approvals, a)
	}
	for _, t := range history.Trailers(c.Commit.Message) {
		if !strings.EqualFold(t.Key, "Approved-by") {
			continue
		}
		a := schemas.Approval{Person: address(history.PersonOf(t.Value)), Commit: c.Commit.Hash, Method: "trailer"}
		switch {
		case a.Person == "":
			a.Person, a.Why = strings.TrimSpace(t.Value), "it needs an e-mail address that identifies a person: write Approved-by: Name <address>"
		case !l.c.Unauthenticated:
			a.Why = "a trailer counts only with signoff: unauthenticated; here the approver signs the commit that lands the change"
		}
		e.Approvals = append(e.Approvals, a)
	}
	tidy(&e)
	return e, nil
}

// Pending returns the evidence of a change that is not merged: its authors, and no approvals yet.
func (l *Local) Pending(_ context.Context, p Pending) (schemas.Evidence, error) {
	e := schemas.Evidence{Forge: "local", ContentDigest: p.Digest, Head: p.Head, Approvals: []schemas.Approval{}}
	l.contributors(&e, p.Commits, nil)
	tidy(&e)
	return e, nil
}

func tidy(e *schemas.Evidence) {
	slices.Sort(e.Authors)
	e.Authors = slices.Compact(e.Authors)
	slices.Sort(e.Unattributed)
	e.Unattributed = slices.Compact(e.Unattributed)
	if e.Authors == nil {
		e.Authors = []string{}
	}
}

// contributors adds the people who made the commits. landing is the commit that lands the change, if there is one: its
// signer approves it, and if it has one parent, its committer is the integrator.
func (l *Local) contributors(e *schemas.Evidence, commits []*history.Commit, landing *history.Commit) {
	for _, c := range commits {
		lands := landing != nil && c.Hash == landing.Hash
		addPerson(e, c.Author)
		if !lands || len(c.Parents) > 1 {
			addPerson(e, c.Committer)
		}
		for _, p := range history.CoAuthors(c.Message) {
			addPerson(e, p)
		}
		if lands || c.Signature == "" {
			continue
		}
		// Names are only claims, but a valid signature is proof. An invalid one changes nothing.
		if s, err := verify(l.signers, c, c.CommittedAt); err == nil {
			e.Authors = append(e.Authors, s.people...)
		}
	}
}

func addPerson(e *schemas.Evidence, p history.Person) {
	if a := address(p); a != "" {
		e.Authors = append(e.Authors, a)
		return
	}
	e.Unattributed = append(e.Unattributed, strings.TrimSpace(p.Name+" <"+p.Email+">"))
}

// address returns a person's e-mail address in lower case, or "" if it does not identify a person: it is not of the
// plain form local@domain in ASCII, belongs to a host, or is a shared no-reply address.
func address(p history.Person) string {
	local, domain, ok := strings.Cut(p.Email, "@")
	if !ok || local == "" || len(p.Email) > 254 || !strings.Contains(domain, ".") {
		return ""
	}
	for i := range len(local) {
		if c := local[i]; !isAlnum(c) && !strings.ContainsRune(".!#$%&'*+/=?^_`{|}~-", rune(c)) {
			return ""
		}
	}
	for _, label := range strings.Split(domain, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return ""
		}
		for i := range len(label) {
			if c := label[i]; !isAlnum(c) && c != '-' {
				return ""
			}
		}
	}
	local, domain = fold(local), fold(domain)
	switch {
	case strings.HasSuffix(domain, ".local") || strings.HasSuffix(domain, ".localdomain") || strings.HasSuffix(domain, ".(none)"):
		return "" // Git derives these from the host's name
	case local == "noreply" || local == "no-reply":
		return "" // the forge's own, or shared
	}
	return local + "@" + domain
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// signature returns the approval by the signer of the landing commit.
func (l *Local) signature(c Change, authors []string) (schemas.Approval, bool) {
	commit := c.Commit
	if commit.Signature == "" || l.c.Unauthenticated && len(l.signers) == 0 {
		return schemas.Approval{}, false
	}
	person := address(commit.Committer)
	a := schemas.Approval{Person: person, Commit: commit.Hash, Method: "signature"}
	if person == "" {
		a.Person, a.Why = strings.TrimSpace(commit.Committer.Name+" <"+commit.Committer.Email+">"), "the committer's address does not identify a person"
		return a, true
	}
	at := commit.CommittedAt
	if c.Instant.After(at) {
		at = c.Instant
	}
	s, err := verify(l.signers, commit, at.UTC())
	switch {
	case err != nil:
		a.Why = err.Error()
		return a, true
	case !slices.Contains(s.people, person):
		// The signer must be the committer.
		a.Why = fmt.Sprintf("the signing key belongs to %s, but the committer is %s", strings.Join(s.people, ", "), person)
		return a, true
	}
	a.Authenticated = true
	instant := commit.CommittedAt.UTC().Truncate(time.Second)
	a.At = &instant
	for _, other := range s.people {
		if other != person && slices.Contains(authors, other) {
			a.Why = fmt.Sprintf("the signing key also belongs to %s, who made the change", other)
		}
	}
	return a, true
}
