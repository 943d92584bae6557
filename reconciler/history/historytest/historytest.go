// Package historytest builds repositories with the real git for tests: the merges, the clones and the
// oddities that history has to read, and large histories for benchmarks.
//
// Nothing of the machine's own Git configuration reaches them, and every date is fixed: the same calls make
// the same hashes. It imports nothing of countersign.
package historytest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Person is an author, committer or approver.
type Person struct{ Name, Email string }

// String is the form used in trailers.
func (p Person) String() string { return p.Name + " <" + p.Email + ">" }

// Alice writes requests.
func Alice() Person { return Person{"Alice", "alice@acme.test"} }

// Bob approves them.
func Bob() Person { return Person{"Bob", "bob@acme.test"} }

// Carol owns the settings.
func Carol() Person { return Person{"Carol", "carol@acme.test"} }

// Mallory is up to no good.
func Mallory() Person { return Person{"Mallory", "mallory@acme.test"} }

// Repo is a repository. Its methods fail the test when git does.
type Repo struct {
	// Dir is the work tree's root, or the Git directory of a bare repository.
	Dir string
	// Now is the date of the next commit; each commit puts it forward by a minute.
	Now time.Time
	t   testing.TB
}

// New makes an empty repository with the branch main.
func New(t testing.TB) *Repo {
	t.Helper()
	r := &Repo{Dir: t.TempDir(), Now: time.Date(2026, 1, 1, 9, 0, 0, 0, time.UTC), t: t}
	r.Git("init", "-q", "--template=", "-b", "main")
	return r
}

// Reopen is the repository that a folder holds already.
func Reopen(t testing.TB, dir string) *Repo {
	return &Repo{Dir: dir, Now: time.Date(2027, 1, 1, 9, 0, 0, 0, time.UTC), t: t}
}

// Git runs git and returns what it prints, without the last newline. Carol is author and committer.
func (r *Repo) Git(args ...string) string {
	r.t.Helper()
	return r.git(Carol(), Carol(), nil, args...)
}

// Try runs git and returns what it prints and whether it failed.
func (r *Repo) Try(args ...string) (string, error) {
	out, err := r.command(Carol(), Carol(), args...).CombinedOutput()
	return strings.TrimSuffix(string(out), "\n"), err
}

// GitInput runs git with standard input.
func (r *Repo) GitInput(input string, args ...string) string {
	r.t.Helper()
	return r.git(Carol(), Carol(), []byte(input), args...)
}

func (r *Repo) command(author, committer Person, args ...string) *exec.Cmd {
	cmd := exec.Command("git", args...)
	cmd.Dir = r.Dir
	at := r.Now.Format(time.RFC3339)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.Dir, "LC_ALL=C", "TZ=UTC", "GIT_EDITOR=true",
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_CEILING_DIRECTORIES=" + filepath.Dir(r.Dir),
		"GIT_AUTHOR_NAME=" + author.Name, "GIT_AUTHOR_EMAIL=" + author.Email, "GIT_AUTHOR_DATE=" + at,
		"GIT_COMMITTER_NAME=" + committer.Name, "GIT_COMMITTER_EMAIL=" + committer.Email, "GIT_COMMITTER_DATE=" + at,
	}
	return cmd
}

func (r *Repo) git(author, committer Person, input []byte, args ...string) string {
	r.t.Helper()
	cmd := r.command(author, committer, args...)
	var out, diagnostics bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &diagnostics
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("git %s: %v\n%s%s", strings.Join(args, " "), err, out.Bytes(), diagnostics.Bytes())
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// Write writes a file of the work tree, its folders included.
func (r *Repo) Write(path, content string) *Repo {
	r.t.Helper()
	return r.write(path, content, 0o644)
}

// WriteExecutable is Write with the executable bit.
func (r *Repo) WriteExecutable(path, content string) *Repo {
	r.t.Helper()
	return r.write(path, content, 0o755)
}

func (r *Repo) write(path, content string, mode os.FileMode) *Repo {
	r.t.Helper()
	full := filepath.Join(r.Dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), mode); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chmod(full, mode); err != nil {
		r.t.Fatal(err)
	}
	return r
}

// Link makes a symbolic link.
func (r *Repo) Link(path, target string) *Repo {
	r.t.Helper()
	full := filepath.Join(r.Dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Symlink(target, full); err != nil {
		r.t.Fatal(err)
	}
	return r
}

// Delete removes a file or a folder of the work tree.
func (r *Repo) Delete(path string) *Repo {
	r.t.Helper()
	if err := os.RemoveAll(filepath.Join(r.Dir, filepath.FromSlash(path))); err != nil {
		r.t.Fatal(err)
	}
	return r
}

// CommitOptions configure a commit. The zero value is a commit of Alice's.
type CommitOptions struct {
	// Author is Alice, Committer the author, unless named.
	Author, Committer Person
	Message           string
	// Trailers are lines at the message's end.
	Trailers []string
	// Key signs the commit.
	Key *Key
}

// Commit commits the complete work tree, also when nothing changed, and returns the hash.
func (r *Repo) Commit(o CommitOptions) string {
	r.t.Helper()
	o.Author = orElse(o.Author, Alice())
	o.Committer = orElse(o.Committer, o.Author)
	r.Git("add", "-A")
	r.git(o.Author, o.Committer, []byte(message(o.Message, "Change access", o.Trailers)), "commit", "-q", "--allow-empty", "--cleanup=verbatim", "-F", "-")
	return r.done(o.Key)
}

func orElse(p, other Person) Person {
	if p == (Person{}) {
		return other
	}
	return p
}

func message(text, otherwise string, trailers []string) string {
	if text == "" {
		text = otherwise
	}
	text = strings.TrimRight(text, "\n") + "\n"
	if len(trailers) > 0 {
		text += "\n" + strings.Join(trailers, "\n") + "\n"
	}
	return text
}

func (r *Repo) done(k *Key) string {
	r.t.Helper()
	r.Now = r.Now.Add(time.Minute)
	hash := r.Head()
	if k != nil {
		hash = r.Sign(hash, k)
		r.Git("reset", "-q", "--soft", hash)
	}
	return hash
}

// Head is the hash of HEAD.
func (r *Repo) Head() string {
	r.t.Helper()
	return r.Git("rev-parse", "HEAD")
}

// Branch makes a branch at a revision, "" for HEAD, and checks it out.
func (r *Repo) Branch(name, from string) *Repo {
	r.t.Helper()
	if from == "" {
		from = "HEAD"
	}
	r.Git("checkout", "-q", "-b", name, from)
	return r
}

// Checkout checks a revision out.
func (r *Repo) Checkout(rev string) *Repo {
	r.t.Helper()
	r.Git("checkout", "-q", rev)
	return r
}

// Style is how a branch lands.
type Style string

// The styles of forges.
const (
	Merge  Style = "merge"
	Squash Style = "squash"
	Rebase Style = "rebase"
)

// MergeOptions configure landing a branch on the one that is checked out.
type MergeOptions struct {
	// By is who lands it; Bob unless named.
	By Person
	// Author is the author of a squash; By unless named.
	Author  Person
	Message string
	// Approvers are written as Approved-by trailers: of the merge or squash, or of each commit of a rebase.
	Approvers []Person
	Trailers  []string
	// Key signs the merge, the squash or each commit of the rebase.
	Key *Key
}

// Land lands branches on the one that is checked out, and returns the hash. More than one makes an octopus.
func (r *Repo) Land(style Style, o MergeOptions, branches ...string) string {
	r.t.Helper()
	o.By = orElse(o.By, Bob())
	trailers := append([]string{}, o.Trailers...)
	for _, a := range o.Approvers {
		trailers = append(trailers, "Approved-by: "+a.String())
	}
	text := message(o.Message, "Merge "+strings.Join(branches, ", "), trailers)
	switch style {
	case Merge:
		r.git(o.By, o.By, nil, append([]string{"merge", "-q", "--no-ff", "--cleanup=verbatim", "-m", text}, branches...)...)
		return r.done(o.Key)
	case Squash:
		r.git(o.By, o.By, nil, append([]string{"merge", "-q", "--squash"}, branches...)...)
		r.git(orElse(o.Author, o.By), o.By, []byte(text), "commit", "-q", "--cleanup=verbatim", "-F", "-")
		return r.done(o.Key)
	case Rebase:
		for _, b := range branches {
			for _, c := range strings.Fields(r.Git("rev-list", "--reverse", "--no-merges", "HEAD.."+b)) {
				r.git(o.By, o.By, nil, "cherry-pick", "--allow-empty", c)
				text := r.Git("log", "-1", "--format=%B")
				author := Person{r.Git("log", "-1", "--format=%an"), r.Git("log", "-1", "--format=%ae")}
				r.git(author, o.By, []byte(message(text, "", trailers)), "commit", "-q", "--amend", "--allow-empty", "--cleanup=verbatim", "-F", "-")
				r.done(o.Key)
			}
		}
		return r.Head()
	}
	r.t.Fatalf("unknown style %q", style)
	return ""
}

// Clone clones the repository with git clone's own options (--bare, --shared, --depth=1 …).
func (r *Repo) Clone(options ...string) *Repo {
	r.t.Helper()
	dir := filepath.Join(r.t.TempDir(), "clone")
	r.Git(append(append([]string{"clone", "-q"}, options...), "file://"+r.Dir, dir)...)
	return &Repo{Dir: dir, Now: r.Now, t: r.t}
}

// CloneShared clones with --shared: the objects are reached through alternates.
func (r *Repo) CloneShared() *Repo {
	r.t.Helper()
	dir := filepath.Join(r.t.TempDir(), "clone")
	r.Git("clone", "-q", "--shared", r.Dir, dir)
	return &Repo{Dir: dir, Now: r.Now, t: r.t}
}

// Key is an SSH key that signs commits.
type Key struct{ signer ssh.Signer }

// NewKey makes an Ed25519 key.
func NewKey(t testing.TB) *Key {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return KeyOf(t, private)
}

// KeyOf takes a private key of the standard library.
func KeyOf(t testing.TB, private any) *Key {
	t.Helper()
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return &Key{s}
}

// Public is the public key as written in an allowed signers file: type and key.
func (k *Key) Public() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.signer.PublicKey())))
}

// Signature is the armored signature of a message in a namespace; Git's is git.
func (k *Key) Signature(t testing.TB, message, namespace string) string {
	t.Helper()
	sig, err := sshsig.Sign(strings.NewReader(message), k.signer, sshsig.HashSHA512, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return string(sshsig.Armor(sig))
}

// Sign writes a signed copy of a commit, as git commit -S would have, and returns its hash. No branch moves.
func (r *Repo) Sign(hash string, k *Key) string {
	r.t.Helper()
	payload := r.Git("cat-file", "commit", hash) + "\n"
	return r.WriteSigned(payload, k.Signature(r.t, payload, "git"))
}

// WriteSigned writes a commit with a signature over whatever it is over.
func (r *Repo) WriteSigned(payload, signature string) string {
	r.t.Helper()
	head, body, ok := strings.Cut(payload, "\n\n")
	if !ok {
		r.t.Fatalf("not a commit: %q", payload)
	}
	gpgsig := "gpgsig " + strings.ReplaceAll(strings.TrimSuffix(signature, "\n"), "\n", "\n ")
	return r.WriteObject("commit", head+"\n"+gpgsig+"\n\n"+body)
}

// WriteObject writes a loose object, however odd, and returns its hash.
func (r *Repo) WriteObject(kind, content string) string {
	r.t.Helper()
	return r.GitInput(content, "hash-object", "-w", "--literally", "-t", kind, "--stdin")
}

// TreeEntry is a line of a hand-made tree: mode, name and hash.
type TreeEntry [3]string

// WriteTree writes a tree with the entries as they are, in their order, right or wrong.
func (r *Repo) WriteTree(entries ...TreeEntry) string {
	r.t.Helper()
	var b strings.Builder
	for _, e := range entries {
		raw := make([]byte, 0, 20)
		for i := 0; i+1 < len(e[2]); i += 2 {
			var x byte
			if _, err := fmt.Sscanf(e[2][i:i+2], "%02x", &x); err != nil {
				r.t.Fatal(err)
			}
			raw = append(raw, x)
		}
		fmt.Fprintf(&b, "%s %s\x00%s", e[0], e[1], raw)
	}
	return r.WriteObject("tree", b.String())
}

// CommitTree commits a tree on top of parents and returns the hash. No branch moves.
func (r *Repo) CommitTree(tree, text string, parents ...string) string {
	r.t.Helper()
	at := r.Now.Unix()
	r.Now = r.Now.Add(time.Minute)
	var b strings.Builder
	fmt.Fprintf(&b, "tree %s\n", tree)
	for _, p := range parents {
		fmt.Fprintf(&b, "parent %s\n", p)
	}
	fmt.Fprintf(&b, "author %s %d +0000\ncommitter %s %d +0000\n\n%s", Alice(), at, Alice(), at, text)
	return r.WriteObject("commit", b.String())
}
