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

// namespace is the namespace in which Git signs commits (gpg.format ssh).
const namespace = "git"

func (s *signer) signs(at time.Time) bool {
	if len(s.namespaces) > 0 && !slices.ContainsFunc(s.namespaces, func(p string) bool { ok, err := path.Match(p, namespace); return err == nil && ok }) {
		return false
	}
	return (s.after.IsZero() || !at.Before(s.after)) && (s.before.IsZero() || at.Before(s.before))
}

// signature is a valid signature of a commit.
type signature struct {
	key ssh.PublicKey
	// people are the principals of the key, from all lines valid at that time.
	people []string
}

// verify checks a commit's signature against the signers at an instant.
func verify(signers []signer, c *history.Commit, at time.Time) (signature, error) {
	return verifyObject(signers, "commit", c.Signature, c.Payload, at)
}

// verifyObject checks the signature of a commit or tag against the signers at an instant.
func verifyObject(signers []signer, kind, armored string, payload []byte, at time.Time) (signature, error) {
	armored = strings.TrimSpace(armored)
	if !strings.HasPrefix(armored, "-----BEGIN SSH SIGNATURE-----") {
		return signature{}, fmt.Errorf("the %s's signature is not an SSH signature (set git config gpg.format ssh)", kind)
	}
	if !strings.HasSuffix(armored, "-----END SSH SIGNATURE-----") || strings.Count(armored, "-----BEGIN") != 1 {
		return signature{}, fmt.Errorf("the %s's signature has more than one part", kind)
	}
	sig, err := sshsig.Unarmor([]byte(armored))
	if err != nil {
		return signature{}, fmt.Errorf("the %s's signature cannot be read: %w", kind, err)
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
		return signature{}, fmt.Errorf("the signing key %s is not in the allowed signers", ssh.FingerprintSHA256(sig.PublicKey))
	case len(out.people) == 0:
		return signature{}, fmt.Errorf("the signing key %s is not valid for %ss at %s", ssh.FingerprintSHA256(sig.PublicKey), kind, at.Format(time.RFC3339))
	}
	if sig.Signature.Format == ssh.KeyAlgoRSA {
		return signature{}, fmt.Errorf("the %s's signature uses SHA-1", kind)
	}
	if err := sshsig.Verify(bytes.NewReader(payload), sig, sig.PublicKey, sig.HashAlgorithm, namespace); err != nil {
		return signature{}, fmt.Errorf("the %s's signature is invalid: %w", kind, err)
	}
	slices.Sort(out.people)
	out.people = slices.Compact(out.people)
	return out, nil
}

// parseSigners reads ssh-keygen's allowed signers format (ssh-keygen(1), ALLOWED SIGNERS). It refuses certificate
// authorities, which would let someone outside the repository decide who counts, and patterns, which would let one key
// act for many people. To revoke a key, remove its line or set valid-before.
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
		return signer{}, fmt.Errorf("the marker %s belongs in a known_hosts file; to revoke a key, remove its line", principals)
	}
	s := signer{}
	for _, p := range strings.Split(strings.Trim(principals, `"`), ",") {
		if p == "" || strings.ContainsAny(p, `*?![]\`) {
			return s, fmt.Errorf("principal %q: patterns are not allowed; list each person", p)
		}
		if address(history.Person{Email: p}) == "" {
			return s, fmt.Errorf("principal %q is not an e-mail address that identifies a person", p)
		}
		s.principals = append(s.principals, fold(p))
	}
	key, _, options, trailing, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil {
		return s, fmt.Errorf("the key cannot be read: %w", err)
	}
	if len(trailing) > 0 {
		return s, errors.New("more than one key on the line")
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
			return s, fmt.Errorf("duplicate option %q", name)
		}
		seen[name] = true
		switch unquoted, err := unquote(value); {
		case name == "cert-authority":
			return s, errors.New("certificate authorities are not supported: list each key")
		case name != "namespaces" && name != "valid-after" && name != "valid-before":
			return s, fmt.Errorf("unknown option %q", name)
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

// checkKey refuses certificates and keys that are too weak to identify a person.
func checkKey(key ssh.PublicKey) error {
	if _, ok := key.(*ssh.Certificate); ok {
		return errors.New("certificates are not supported: list each key")
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
	return fmt.Errorf("keys of type %s are not supported", key.Type())
}

// cutField cuts off the first field, which may be quoted.
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

// signerTime reads YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z for UTC. It reads local times as UTC, because a
// judgement must not depend on the machine's time zone.
func signerTime(s string) (time.Time, error) {
	digits := strings.TrimSuffix(s, "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if t, err := time.Parse(layout, digits); err == nil && len(digits) == len(layout) {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("the time %q is not YYYYMMDD[HHMM[SS]][Z]", s)
}
