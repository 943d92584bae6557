package signoff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/mail"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/schemas"
)

// LocalConfig is what the local forge works by.
type LocalConfig struct {
	// Unauthenticated takes Approved-by trailers at their word. Whoever can push can write one.
	Unauthenticated bool
	// AllowedSigners is the file, as the base has it, that says whose SSH keys count; its path is for messages.
	AllowedSigners     []byte
	AllowedSignersPath string
}

// Local is a repository without a forge: people are e-mail addresses, and the approval is in the commit that
// lands the change.
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
		return nil, fmt.Errorf("%s names no signer, and without one nothing can be signed off", c.AllowedSignersPath)
	}
	return l, nil
}

// Evidence reads the commits. A merge's contributors are the authors, committers and co-authors of what it
// brought; who made the merge itself is the integrator. A commit with one parent (a squash or one of a
// rebase) was made by its author and co-authors; its committer is the integrator too, for Git records
// nothing else of whoever lands a squash. A committer who is the author is a contributor in any case.
func (l *Local) Evidence(_ context.Context, c Change) (schemas.Evidence, error) {
	merge := len(c.Commit.Parents) > 1
	e := schemas.Evidence{Forge: "local", ContentDigest: c.Digest, Approvals: []schemas.Approval{}, MergedBy: fold(c.Commit.Committer.Email)}
	at := c.Commit.CommittedAt
	e.MergedAt = &at
	e.Title, _, _ = strings.Cut(c.Commit.Message, "\n")
	if merge {
		e.Head = c.Commit.Parents[1]
	}
	e.Authors, e.Unattributed = contributors(c.Merged, merge)
	if merge {
		// What a merge changes besides what it brought is its author's own.
		for _, p := range history.CoAuthors(c.Commit.Message) {
			addPerson(&e.Authors, &e.Unattributed, p)
		}
	}
	if l.c.Unauthenticated {
		for _, t := range history.Trailers(c.Commit.Message) {
			if !strings.EqualFold(t.Key, "Approved-by") {
				continue
			}
			a := schemas.Approval{Person: address(history.PersonOf(t.Value)), Commit: c.Commit.Hash, Method: "trailer"}
			if a.Person == "" {
				a.Person, a.Why = strings.TrimSpace(t.Value), "it has no e-mail address: write Approved-by: Name <address>"
			}
			e.Approvals = append(e.Approvals, a)
		}
	}
	if a, ok := l.signature(c.Commit); ok {
		e.Approvals = append([]schemas.Approval{a}, e.Approvals...)
	}
	tidy(&e)
	return e, nil
}

// Pending is the evidence of a change that is not merged: who made it, and nobody's approval yet.
func (l *Local) Pending(_ context.Context, p Pending) (schemas.Evidence, error) {
	e := schemas.Evidence{Forge: "local", ContentDigest: p.Digest, Head: p.Head, Approvals: []schemas.Approval{}}
	e.Authors, e.Unattributed = contributors(p.Commits, true)
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

func contributors(commits []*history.Commit, committers bool) (authors, unattributed []string) {
	for _, c := range commits {
		addPerson(&authors, &unattributed, c.Author)
		if committers {
			addPerson(&authors, &unattributed, c.Committer)
		}
		for _, p := range history.CoAuthors(c.Message) {
			addPerson(&authors, &unattributed, p)
		}
	}
	return authors, unattributed
}

func addPerson(authors, unattributed *[]string, p history.Person) {
	if a := address(p); a != "" {
		*authors = append(*authors, a)
		return
	}
	*unattributed = append(*unattributed, strings.TrimSpace(p.Name+" <"+p.Email+">"))
}

// address is a person's e-mail address in lower case; "" where it is none that tells who somebody is.
func address(p history.Person) string {
	a, err := mail.ParseAddress("<" + strings.TrimSpace(p.Email) + ">")
	if err != nil {
		return ""
	}
	local, domain, _ := strings.Cut(fold(a.Address), "@")
	switch {
	case local == "" || !strings.Contains(domain, ".") || strings.HasSuffix(domain, ".local") || strings.HasSuffix(domain, ".localdomain"):
		return ""
	case local == "noreply" || local == "no-reply":
		return "" // the forge's own, or anybody's
	}
	return fold(a.Address)
}

// signature is the approval of whoever signed the landing commit with a key that counts.
func (l *Local) signature(c *history.Commit) (schemas.Approval, bool) {
	if c.Signature == "" {
		return schemas.Approval{}, false
	}
	a := schemas.Approval{Person: address(c.Committer), Commit: c.Hash, Method: "signature"}
	principal, err := l.verify(c)
	if err != nil {
		a.Why = err.Error()
		return a, true
	}
	a.Person, a.Authenticated = principal, true
	at := c.CommittedAt
	a.At = &at
	return a, true
}

func (l *Local) verify(c *history.Commit) (principal string, err error) {
	if !strings.HasPrefix(c.Signature, "-----BEGIN SSH SIGNATURE-----") {
		return "", errors.New("the commit's signature is no SSH signature (git config gpg.format ssh)")
	}
	sig, err := sshsig.Unarmor([]byte(c.Signature))
	if err != nil {
		return "", fmt.Errorf("the commit's signature cannot be read: %w", err)
	}
	for _, s := range l.signers {
		if !bytes.Equal(s.key.Marshal(), sig.PublicKey.Marshal()) || !s.signs("git", c.CommittedAt) {
			continue
		}
		if err := sshsig.Verify(bytes.NewReader(c.Payload), sig, sig.PublicKey, sig.HashAlgorithm, "git"); err != nil {
			return "", fmt.Errorf("the commit's signature does not hold: %w", err)
		}
		// The signer must be who the commit says: a key may list several principals.
		for _, p := range s.principals {
			if ok, err := path.Match(p, fold(c.Committer.Email)); err == nil && ok {
				return fold(c.Committer.Email), nil
			}
		}
		return "", fmt.Errorf("the key that signed belongs to %s, and the committer is %s", strings.Join(s.principals, ", "), c.Committer.Email)
	}
	return "", fmt.Errorf("the key %s that signed is not among the allowed signers, or not at that time", ssh.FingerprintSHA256(sig.PublicKey))
}

// signer is one line of an allowed signers file.
type signer struct {
	principals    []string
	key           ssh.PublicKey
	namespaces    []string
	after, before time.Time
}

func (s *signer) signs(namespace string, at time.Time) bool {
	if len(s.namespaces) > 0 && !slices.ContainsFunc(s.namespaces, func(p string) bool { ok, err := path.Match(p, namespace); return err == nil && ok }) {
		return false
	}
	return (s.after.IsZero() || !at.Before(s.after)) && (s.before.IsZero() || at.Before(s.before))
}

// parseSigners reads ssh-keygen's allowed signers format (ssh-keygen(1), ALLOWED SIGNERS). Authorities are
// refused: a certificate would let somebody outside the repository say who counts.
func parseSigners(content []byte) ([]signer, error) {
	var out []signer
	for i, line := range strings.Split(string(content), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, err := parseSigner(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		out = append(out, s)
	}
	return out, nil
}

func parseSigner(line string) (signer, error) {
	principals, rest, ok := cutField(line)
	if !ok || rest == "" {
		return signer{}, errors.New("expected: principals [options] key-type key")
	}
	s := signer{}
	for _, p := range strings.Split(strings.Trim(principals, `"`), ",") {
		if strings.HasPrefix(p, "!") || p == "" || p == "*" {
			return s, fmt.Errorf("principal %q: name the people one by one", p)
		}
		s.principals = append(s.principals, fold(p))
	}
	key, _, options, trailing, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil {
		return s, fmt.Errorf("the key cannot be read: %w", err)
	}
	if len(trailing) > 0 {
		return s, errors.New("there is more than one key on the line")
	}
	s.key = key
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "namespaces":
			s.namespaces = strings.Split(value, ",")
		case "valid-after":
			s.after, err = signerTime(value)
		case "valid-before":
			s.before, err = signerTime(value)
		case "cert-authority":
			err = errors.New("certificate authorities are not taken: name each key")
		default:
			err = fmt.Errorf("the option %q is unknown", name)
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// cutField cuts the first field off, which may be quoted.
func cutField(line string) (field, rest string, ok bool) {
	quoted := false
	for i, r := range line {
		switch {
		case r == '"':
			quoted = !quoted
		case (r == ' ' || r == '\t') && !quoted:
			return line[:i], strings.TrimSpace(line[i:]), true
		}
	}
	return line, "", !quoted
}

// signerTime reads YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z for UTC. Local times are taken as UTC: a
// judgement must not depend on where it is made.
func signerTime(s string) (time.Time, error) {
	s = strings.TrimSuffix(s, "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("the time %q is not YYYYMMDD[HHMM[SS]][Z]", s)
}
