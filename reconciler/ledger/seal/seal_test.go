package seal_test

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/countersign/countersign/reconciler/ledger/seal"
)

func newKey(t *testing.T) *seal.Key {
	t.Helper()
	private, _, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := seal.ParseKey(private + "\n")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var head = seal.Head{Origin: strings.Repeat("a", 40), Sequence: 12, Hash: strings.Repeat("0f", 32)}

func TestHead(t *testing.T) {
	t.Parallel()
	k, other := newKey(t), newKey(t)
	signed, err := k.Sign(head)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Public().Open(signed); err != nil || got != head {
		t.Errorf("opened %v, %v", got, err)
	}
	if got, err := seal.ParseHead(signed); err != nil || got != head {
		t.Errorf("read %v, %v", got, err)
	}
	// Another program of the same format verifies it.
	v, err := note.NewVerifier(k.Public().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open([]byte(signed), note.VerifierList(v)); err != nil {
		t.Errorf("the note package: %v", err)
	}
	if _, err := other.Public().Open(signed); err == nil {
		t.Error("another key verifies it")
	}
	for name, altered := range map[string]string{
		"sequence": strings.Replace(signed, "\n12\n", "\n13\n", 1), "hash": strings.Replace(signed, "0f0f", "0f0e", 1),
		"origin": strings.Replace(signed, "aaaa", "aaab", 1), "no signature": head.Text(), "nothing": "", "another line": strings.Replace(signed, "\n12\n", "\n12\n13\n", 1),
	} {
		if _, err := k.Public().Open(altered); err == nil {
			t.Errorf("%s: it is verified", name)
		}
	}
}

// TestKinds holds the kinds of statements apart: none passes for another.
func TestKinds(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	signed, err := k.Sign(head)
	if err != nil {
		t.Fatal(err)
	}
	lease, err := k.SignLease("a run\nat noon")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Public().OpenLease(lease); err != nil || got != "a run at noon" {
		t.Errorf("lease %q, %v", got, err)
	}
	if _, err := k.Public().OpenLease(signed); err == nil {
		t.Error("a head passes for a lease")
	}
	if _, err := k.Public().Open(lease); err == nil {
		t.Error("a lease passes for a head")
	}
	next, other := newKey(t).Public(), newKey(t).Public()
	rotation, err := k.SignRotation(head, next)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Public().OpenRotation(rotation, next); err != nil || got != head {
		t.Errorf("rotation: %v, %v", got, err)
	}
	for _, bad := range []struct {
		by, next *seal.Public
		text     string
	}{{k.Public(), other, rotation}, {next, next, rotation}, {k.Public(), next, signed}, {k.Public(), next, strings.Replace(rotation, "\n12\n", "\n13\n", 1)}} {
		if _, err := bad.by.OpenRotation(bad.text, bad.next); err == nil {
			t.Errorf("a rotation is verified for another key, by another key or of another head: %s", bad.text)
		}
	}
	line, err := k.SignShort(head)
	if err != nil {
		t.Fatal(err)
	}
	if len(line) > 140 {
		t.Errorf("%d characters: a status has 140", len(line))
	}
	if got, err := k.Public().OpenShort(line, head.Origin); err != nil || got.Sequence != head.Sequence || !got.Is(head.Hash) {
		t.Errorf("short %v, %v", got, err)
	}
	for _, bad := range []string{"", "1 2", strings.Replace(line, "12 ", "13 ", 1), "x " + line} {
		if _, err := k.Public().OpenShort(bad, head.Origin); err == nil {
			t.Errorf("%q is verified", bad)
		}
	}
	if _, err := k.Public().OpenShort(line, strings.Repeat("b", 40)); err == nil {
		t.Error("it is verified for another ledger")
	}
}

// TestKeysStaySecret prints a key in every way, and misreads it.
func TestKeysStaySecret(t *testing.T) {
	t.Parallel()
	private, public, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := seal.ParseKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if k.Public().String() != public {
		t.Errorf("public key %s, want %s", k.Public(), public)
	}
	secret := strings.SplitN(private, "+", 5)[4]
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s", k, k, k, k)} {
		if strings.Contains(s, secret) {
			t.Errorf("the key is printed: %s", s)
		}
	}
	for _, bad := range []string{"", public, private[:len(private)-3], private + "x", "PRIVATE+KEY+other+" + strings.SplitN(private, "+", 4)[3]} {
		_, err := seal.ParseKey(bad)
		if err == nil {
			t.Errorf("%q is a key", bad)
		} else if strings.Contains(err.Error(), secret[:20]) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
	if _, err := seal.ParsePublic(private); err == nil || strings.Contains(err.Error(), secret[:20]) {
		t.Errorf("a private key as a public one: %v", err)
	}
}
