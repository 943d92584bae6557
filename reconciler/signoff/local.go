package signoff

import (
	"context"
	"errors"
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
func (l *Local) Evidence(ctx context.Context, c Change) (schemas.Evidence, error) {
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
	if a, ok := l.signature(c, &e); ok {
		e.Approvals = append(e.Approvals, a)
	}
	if err := l.tags(ctx, c, &e); err != nil {
		return e, err
	}
	e.Approvals = append(e.Approvals, l.trailers(c.Commit)...)
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

// contributors adds the people who made the commits. landing is the commit that lands the change, if there is one: a merge
// is approved by its signer, and the committer of one with one parent is the integrator.
func (l *Local) contributors(e *schemas.Evidence, commits []*history.Commit, landing *history.Commit) {
	for _, c := range commits {
		lands := landing != nil && c.Hash == landing.Hash
		addPerson(e, c.Author)
		if !lands || len(c.Parents) > 1 || !l.c.Unauthenticated {
			addPerson(e, c.Committer)
		}
		for _, p := range history.CoAuthors(c.Message) {
			addPerson(e, p)
		}
		if l.c.Unauthenticated && (lands || c.Signature == "") {
			continue
		}
		// Names are only claims, but a valid signature is proof.
		s, err := signature{}, errUnsigned
		if c.Signature != "" {
			s, err = verify(l.signers, c, c.CommittedAt)
		}
		switch {
		case err == nil:
			e.Authors = append(e.Authors, s.people...)
		case !l.c.Unauthenticated:
			e.Unattributed = append(e.Unattributed, fmt.Sprintf("commit %s: %v", c.Hash[:min(len(c.Hash), 8)], err))
		}
	}
}

var errUnsigned = errors.New("it is not signed, and who made it is only known by the signature (git commit -S, or git rebase --exec 'git commit --amend --no-edit -S')")

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

// signature returns the approval by the signer of a merge. The signer of a commit with one parent made that commit.
func (l *Local) signature(c Change, e *schemas.Evidence) (schemas.Approval, bool) {
	commit := c.Commit
	if commit.Signature == "" || l.c.Unauthenticated && len(l.signers) == 0 {
		return schemas.Approval{}, false
	}
	s, err := verify(l.signers, commit, c.Landed())
	a := l.approval(&c, commit.Committer, "committer", s, err, e.Authors)
	a.Commit, a.Method = commit.Hash, "signature"
	instant := commit.CommittedAt.UTC().Truncate(time.Second)
	if a.Authenticated {
		a.At = &instant
	}
	if len(commit.Parents) < 2 && a.Why == "" && !l.c.Unauthenticated {
		a.Why = "the signature shows who made the commit: somebody else signs it off by signing its merge, or a tag on it"
	}
	return a, true
}

// approval returns the approval of who signed an object. by is who the object says that it is, in that role.
func (l *Local) approval(c *Change, by history.Person, role string, s signature, err error, authors []string) schemas.Approval {
	person := address(by)
	a := schemas.Approval{Person: person}
	switch {
	case person == "":
		a.Person, a.Why = strings.TrimSpace(by.Name+" <"+by.Email+">"), fmt.Sprintf("the %s's address does not identify a person", role)
		return a
	case err != nil:
		a.Why = err.Error()
		return a
	case !slices.Contains(s.people, person):
		a.Why = fmt.Sprintf("the signing key belongs to %s, but the %s is %s", strings.Join(s.people, ", "), role, person)
		return a
	}
	a.Authenticated = true
	same := func(a, b string) bool { return a == b }
	if c.Directory != nil {
		same = func(a, b string) bool { return c.Directory.Canonical(a) == c.Directory.Canonical(b) }
	}
	for _, other := range s.people {
		if other != person && slices.ContainsFunc(authors, func(author string) bool { return same(author, other) }) {
			a.Why = fmt.Sprintf("the signing key also belongs to %s, who made the change", other)
		}
	}
	return a
}
