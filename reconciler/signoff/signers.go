package signoff

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/countersign/countersign/reconciler/history"
)

// signer is one line of an allowed signers file.
type signer struct {
	principals    []string
	key           ssh.PublicKey
	namespaces    []string
	after, before time.Time
}

// namespace is what Git signs commits in (gpg.format ssh).
const namespace = "git"

func (s *signer) signs(at time.Time) bool {
	if len(s.namespaces) > 0 && !slices.ContainsFunc(s.namespaces, func(p string) bool { ok, err := path.Match(p, namespace); return err == nil && ok }) {
		return false
	}
	return (s.after.IsZero() || !at.Before(s.after)) && (s.before.IsZero() || at.Before(s.before))
}

// signature is a commit's signature that holds.
type signature struct {
	key ssh.PublicKey
	// people are the principals whose key it is, by all lines that hold at that time.
	people []string
}

// verify checks a commit's signature against the signers at an instant.
func verify(signers []signer, c *history.Commit, at time.Time) (signature, error) {
	armored := strings.TrimSpace(c.Signature)
	if !strings.HasPrefix(armored, "-----BEGIN SSH SIGNATURE-----") {
		return signature{}, errors.New("the commit's signature is no SSH signature (git config gpg.format ssh)")
	}
	if !strings.HasSuffix(armored, "-----END SSH SIGNATURE-----") || strings.Count(armored, "-----BEGIN") != 1 {
		return signature{}, errors.New("the commit's signature has more than one part")
	}
	sig, err := sshsig.Unarmor([]byte(armored))
	if err != nil {
		return signature{}, fmt.Errorf("the commit's signature cannot be read: %w", err)
	}
	out := signature{key: sig.PublicKey}
	named := false
	for _, s := range signers {
		if !bytes.Equal(s.key.Marshal(), sig.PublicKey.Marshal()) {
			continue
		}
		named = true
		if s.signs(at) {
			out.people = append(out.people, s.principals...)
		}
	}
	switch {
	case !named:
		return signature{}, fmt.Errorf("the key %s that signed is not among the allowed signers", ssh.FingerprintSHA256(sig.PublicKey))
	case len(out.people) == 0:
		return signature{}, fmt.Errorf("the key %s that signed is not allowed for commits at %s", ssh.FingerprintSHA256(sig.PublicKey), at.Format(time.RFC3339))
	}
	if sig.Signature.Format == ssh.KeyAlgoRSA {
		return signature{}, errors.New("the commit's signature uses SHA-1")
	}
	if err := sshsig.Verify(bytes.NewReader(c.Payload), sig, sig.PublicKey, sig.HashAlgorithm, namespace); err != nil {
		return signature{}, fmt.Errorf("the commit's signature does not hold: %w", err)
	}
	slices.Sort(out.people)
	out.people = slices.Compact(out.people)
	return out, nil
}

// parseSigners reads ssh-keygen's allowed signers format (ssh-keygen(1), ALLOWED SIGNERS). Authorities are
// refused: a certificate would let somebody outside the repository say who counts. So are patterns: a key
// that stands for many would be any of them. To revoke a key, take its line away or set valid-before.
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
	if strings.HasPrefix(principals, "@") {
		return signer{}, fmt.Errorf("the marker %s belongs in a known_hosts file; take a revoked key's line away", principals)
	}
	s := signer{}
	for _, p := range strings.Split(strings.Trim(principals, `"`), ",") {
		if p == "" || strings.ContainsAny(p, `*?![]\`) {
			return s, fmt.Errorf("principal %q: name the people one by one", p)
		}
		if address(history.Person{Email: p}) == "" {
			return s, fmt.Errorf("principal %q is no e-mail address that tells who somebody is", p)
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
	if err := checkKey(key); err != nil {
		return s, err
	}
	seen := map[string]bool{}
	for _, o := range options {
		name, value, valued := strings.Cut(o, "=")
		name = strings.ToLower(name)
		if seen[name] {
			return s, fmt.Errorf("the option %q stands twice", name)
		}
		seen[name] = true
		switch unquoted, err := unquote(value); {
		case name == "cert-authority":
			return s, errors.New("certificate authorities are not taken: name each key")
		case name != "namespaces" && name != "valid-after" && name != "valid-before":
			return s, fmt.Errorf("the option %q is unknown", name)
		case !valued || unquoted == "" || err != nil:
			return s, fmt.Errorf("the option %s needs a value in quotes", name)
		case name == "namespaces":
			s.namespaces = strings.Split(unquoted, ",")
		case name == "valid-after":
			s.after, err = signerTime(unquoted)
			if err != nil {
				return s, err
			}
		default:
			s.before, err = signerTime(unquoted)
			if err != nil {
				return s, err
			}
		}
	}
	if !s.after.IsZero() && !s.before.IsZero() && !s.after.Before(s.before) {
		return s, errors.New("valid-before is not after valid-after: the key is never valid")
	}
	return s, nil
}

func unquote(s string) (string, error) {
	if strings.HasPrefix(s, `"`) != strings.HasSuffix(s, `"`) || s == `"` {
		return "", errors.New("a quote is missing")
	}
	return strings.Trim(s, `"`), nil
}

// checkKey refuses keys that are none by themselves or too weak to stand for a person.
func checkKey(key ssh.PublicKey) error {
	if _, ok := key.(*ssh.Certificate); ok {
		return errors.New("certificates are not taken: name each key")
	}
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return nil
	case ssh.KeyAlgoRSA:
		k, ok := key.(ssh.CryptoPublicKey)
		if !ok {
			break
		}
		if r, ok := k.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() >= 2048 {
			return nil
		}
		return errors.New("the RSA key has fewer than 2048 bits")
	}
	return fmt.Errorf("keys of type %s are not taken", key.Type())
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
	digits := strings.TrimSuffix(s, "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if t, err := time.Parse(layout, digits); err == nil && len(digits) == len(layout) {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("the time %q is not YYYYMMDD[HHMM[SS]][Z]", s)
}
