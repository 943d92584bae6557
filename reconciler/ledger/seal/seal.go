// Package seal signs the head of a ledger, so that somebody who can write the ledger's file or branch can't make up records.
//
// A head is a signed note (golang.org/x/mod/sumdb/note) of three lines: which ledger it is, the number of the last record
// and that record's hash, which covers all records before it. Keys are Ed25519 keys in the text form of that package, so
// that other tools verify the notes as well.
//
// It imports nothing of countersign.
package seal

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// keyName is the name in all keys. A key's hash tells it apart from others.
const keyName = "countersign-ledger"

// The first lines of what is signed, so that one kind of statement never passes for another.
const (
	headPrefix    = "countersign.dev/ledger/"
	leasePrefix   = "countersign.dev/lease/"
	witnessPrefix = "countersign.dev/witness/"
	rotatePrefix  = "countersign.dev/rotation/"
)

// Key is the operator's private key. Its text is a secret; String hides it. It is safe for concurrent use.
type Key struct {
	public *Public
	signer note.Signer
	mark   []byte
}

// Public is the key that heads are verified with. It is safe for concurrent use.
type Public struct {
	text     string
	verifier note.Verifier
}

// Generate makes a key. The private text is a secret; the public text belongs in the settings.
func Generate(random io.Reader) (private, public string, err error) {
	return note.GenerateKey(random, keyName)
}

// ParseKey reads the private text of a key. Errors never repeat it.
func ParseKey(text string) (*Key, error) {
	text = strings.TrimSpace(text)
	malformed := errors.New("not a private key of a ledger (expected PRIVATE+KEY+" + keyName + "+…, as countersign audit new-key writes it)")
	signer, err := note.NewSigner(text)
	if err != nil || signer.Name() != keyName {
		return nil, malformed
	}
	parts := strings.SplitN(text, "+", 5) // the last one is base64, which has '+' too
	seed, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		return nil, malformed
	}
	private := ed25519.NewKeyFromSeed(seed[1:])
	text, err = note.NewEd25519VerifierKey(keyName, private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, malformed
	}
	public, err := ParsePublic(text)
	if err != nil {
		return nil, err
	}
	mark := sha256.Sum256(append([]byte("countersign verified mark\x00"), seed[1:]...))
	return &Key{public, signer, mark[:]}, nil
}

// ParsePublic reads the public text of a key.
func ParsePublic(text string) (*Public, error) {
	text = strings.TrimSpace(text)
	v, err := note.NewVerifier(text)
	if err != nil || v.Name() != keyName {
		// Never the text: somebody may have given the private key.
		return nil, fmt.Errorf("not a ledger's public key (expected %s+…, as countersign audit new-key prints it)", keyName)
	}
	return &Public{text, v}, nil
}

// String hides the key.
func (k *Key) String() string { return "REDACTED" }

// GoString hides the key.
func (k *Key) GoString() string { return "REDACTED" }

// Public returns the key that verifies what this one signs.
func (k *Key) Public() *Public { return k.public }

// Mark authenticates a note to oneself: nobody without the key can make one.
func (k *Key) Mark(text []byte) string {
	m := hmac.New(sha256.New, k.mark)
	m.Write(text)
	return hex.EncodeToString(m.Sum(nil))
}

// String returns the text of the key.
func (p *Public) String() string { return p.text }

// Is reports whether the text is this key.
func (p *Public) Is(text string) bool { return p.text == strings.TrimSpace(text) }

// Head is the end of a ledger. Origin tells which ledger it is: the commit where trust in its repository starts.
type Head struct {
	Origin   string
	Sequence int64
	Hash     string
}

// Text is what is signed of a head. Unsigned, it is still of use to a witness.
func (h Head) Text() string {
	return fmt.Sprintf("%s%s\n%d\n%s\n", headPrefix, h.Origin, h.Sequence, h.Hash)
}

// ParseHead reads a head from a note or from the text of one, without verifying anything.
func ParseHead(text string) (Head, error) {
	lines := strings.SplitN(text, "\n", 4)
	malformed := errors.New("not a head of a ledger")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], headPrefix) {
		return Head{}, malformed
	}
	h := Head{Origin: strings.TrimPrefix(lines[0], headPrefix), Hash: lines[2]}
	var err error
	if h.Sequence, err = strconv.ParseInt(lines[1], 10, 64); err != nil || h.Sequence <= 0 || len(h.Hash) != hex.EncodedLen(sha256.Size) ||
		!strings.HasPrefix(text, h.Text()) {
		return Head{}, malformed
	}
	return h, nil
}

// Sign returns the signed note of a head.
func (k *Key) Sign(h Head) (string, error) { return k.sign(h.Text()) }

func (k *Key) sign(text string) (string, error) {
	b, err := note.Sign(&note.Note{Text: text}, k.signer)
	return string(b), err
}

// ErrSignature means that a note isn't signed by the key that it is verified with.
var ErrSignature = errors.New("it is not signed by this key")

// Open verifies the signed note of a head.
func (p *Public) Open(signed string) (Head, error) {
	text, err := p.open(signed)
	if err != nil {
		return Head{}, err
	}
	return ParseHead(text)
}

func (p *Public) open(signed string) (string, error) {
	n, err := note.Open([]byte(signed), note.VerifierList(p.verifier))
	if err != nil {
		return "", ErrSignature
	}
	return n.Text, nil
}

// SignLease signs the claim of a run to be the one that writes.
func (k *Key) SignLease(claim string) (string, error) {
	return k.sign(leasePrefix + "\n" + strings.ReplaceAll(claim, "\n", " ") + "\n")
}

// OpenLease verifies such a claim and returns it.
func (p *Public) OpenLease(signed string) (string, error) {
	text, err := p.open(signed)
	if err != nil {
		return "", err
	}
	first, claim, _ := strings.Cut(text, "\n")
	if first != leasePrefix {
		return "", ErrSignature
	}
	return strings.TrimSuffix(claim, "\n"), nil
}

// SignRotation lets another key sign what follows a head.
func (k *Key) SignRotation(h Head, next *Public) (string, error) {
	return k.sign(rotatePrefix + h.Text() + next.String() + "\n")
}

// OpenRotation verifies that this key let next sign what follows a head, and returns that head.
func (p *Public) OpenRotation(signed string, next *Public) (Head, error) {
	text, err := p.open(signed)
	if err != nil {
		return Head{}, err
	}
	h, err := ParseHead(strings.TrimPrefix(text, rotatePrefix))
	if err != nil || text != rotatePrefix+h.Text()+next.String()+"\n" {
		return Head{}, ErrSignature
	}
	return h, nil
}

// witnessHash is how much of a hash a short statement has: a status at a forge has room for 140 characters.
const witnessHash = 16

// Short is a head in one line of less than 140 characters.
type Short struct {
	Sequence int64
	// Hash is the beginning of the record's hash.
	Hash string
}

// Is reports whether a record of that hash is the one that the statement names.
func (s Short) Is(hash string) bool { return strings.HasPrefix(hash, s.Hash) }

func shortText(origin string, s Short) []byte {
	return fmt.Appendf(nil, "%s%s\n%d\n%s\n", witnessPrefix, origin, s.Sequence, s.Hash)
}

// SignShort returns a head in one line.
func (k *Key) SignShort(h Head) (string, error) {
	s := Short{h.Sequence, h.Hash[:2*witnessHash]}
	sig, err := k.signer.Sign(shortText(h.Origin, s))
	if err != nil {
		return "", err
	}
	raw, err := hex.DecodeString(s.Hash)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %s %s", s.Sequence, base64.RawURLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(sig)), nil
}

// OpenShort verifies such a line for the ledger of an origin.
func (p *Public) OpenShort(line, origin string) (Short, error) {
	parts := strings.Fields(line)
	if len(parts) != 3 {
		return Short{}, ErrSignature
	}
	sequence, err := strconv.ParseInt(parts[0], 10, 64)
	hash, herr := base64.RawURLEncoding.DecodeString(parts[1])
	sig, serr := base64.RawURLEncoding.DecodeString(parts[2])
	if errors.Join(err, herr, serr) != nil || len(hash) != witnessHash {
		return Short{}, ErrSignature
	}
	s := Short{sequence, hex.EncodeToString(hash)}
	if !p.verifier.Verify(shortText(origin, s), sig) {
		return Short{}, ErrSignature
	}
	return s, nil
}
