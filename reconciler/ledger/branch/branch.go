package branch

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/countersign/countersign/reconciler/ledger"
)

// DefaultName is the branch.
const DefaultName = "countersign/ledger"

const (
	// maxFile bounds one file, and maxLine one record: a record holds at most ledger.MaxPlanned operations.
	maxFile = 256 << 20
	maxLine = 64 << 20
	// maxPush bounds a commit's records, where many are pushed at once.
	maxPush = 20_000
)

var (
	// ErrMoved says that another run has written since: pull, and do again what was about to be done.
	ErrMoved = errors.New("another run has written to the ledger's branch meanwhile")
	// ErrDiverged says that the local file has records that the branch has not.
	ErrDiverged = errors.New("the local ledger is not the one on the branch")
)

// AlteredError says that the branch is not what this package wrote.
type AlteredError struct{ Commit, Path, What string }

// Error says what to do.
func (e *AlteredError) Error() string {
	at := e.Commit[:min(8, len(e.Commit))]
	if e.Path != "" {
		at += " " + e.Path
	}
	return fmt.Sprintf("the ledger's branch was altered (%s: %s): nothing is written until an operator has looked at it; put the branch back, or begin another one", at, e.What)
}

// RewrittenError says that the branch does not go on from where it was.
type RewrittenError struct{ Was, Is string }

// Error says what to do.
func (e *RewrittenError) Error() string {
	return fmt.Sprintf("the ledger's branch was rewritten: it was at %s and is at %s, which does not follow from it; nothing is written until the branch is put back", short(e.Was), short(e.Is))
}

func short(hash string) string { return hash[:min(8, len(hash))] }

// Config says where the branch is.
type Config struct {
	// Dir is a bare clone that holds nothing but the branch; it is made where it is not there. Required.
	Dir string
	// URL is the remote: an https address or a path. Required.
	URL string
	// Password authenticates as x-access-token; nil is nobody.
	Password func(context.Context) (string, error)
	// Name is the branch's; "" is DefaultName.
	Name string
	// Anchor is a commit that the branch must contain; "" is none.
	Anchor string
	// Holder says who holds the lease, for people.
	Holder string
	// Lease is how long a lease stands unrenewed before another takes it over; 0 is five minutes.
	Lease time.Duration
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// Watch measures for how long a lease was seen unrenewed, and After waits in between; nil are the system's. Now may
	// be at a standstill, and these must not.
	Watch func() time.Time
	After func(time.Duration) <-chan time.Time
	// Logger takes diagnostics; nil discards them.
	Logger *slog.Logger
	// Progress is told what a long job is at; nil is told nothing.
	Progress func(what string, done, total int)
}

// Branch is the ledger's branch. It is used by one goroutine at a time.
type Branch struct {
	c    Config
	repo *gogit.Repository
	// tip is the commit of the branch that was read or written last; the zero hash where there is none yet.
	tip plumbing.Hash
	// lease is the one that this process holds; the zero hash for none.
	lease   plumbing.Hash
	renewed time.Time
}

// New checks the configuration. It opens nothing.
func New(c Config) (*Branch, error) {
	switch {
	case c.Dir == "":
		return nil, errors.New("the ledger's branch: no folder for its clone")
	case c.URL == "":
		return nil, errors.New("the ledger's branch: no remote")
	}
	if c.Name == "" {
		c.Name = DefaultName
	}
	if c.Lease == 0 {
		c.Lease = 5 * time.Minute
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Watch == nil {
		c.Watch = time.Now
	}
	if c.After == nil {
		c.After = time.After
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Progress == nil {
		c.Progress = func(string, int, int) {}
	}
	return &Branch{c: c}, nil
}

func (b *Branch) ref() plumbing.ReferenceName { return plumbing.NewBranchReferenceName(b.c.Name) }

func (b *Branch) leaseRef() plumbing.ReferenceName {
	return plumbing.NewBranchReferenceName(b.c.Name + "-lease")
}

// trusted is the reference of the clone that remembers the last tip that was found well.
const trusted = plumbing.ReferenceName("refs/countersign/trusted")

func (b *Branch) open() error {
	if b.repo != nil {
		return nil
	}
	repo, err := gogit.PlainOpen(b.c.Dir)
	if errors.Is(err, gogit.ErrRepositoryNotExists) {
		if err := os.MkdirAll(b.c.Dir, 0o700); err != nil {
			return err
		}
		repo, err = gogit.PlainInit(b.c.Dir, true)
	}
	b.repo = repo
	return err
}

func (b *Branch) remote() *gogit.Remote {
	return gogit.NewRemote(b.repo.Storer, &config.RemoteConfig{Name: "origin", URLs: []string{b.c.URL}})
}

func (b *Branch) auth(ctx context.Context) (transport.AuthMethod, error) {
	if b.c.Password == nil {
		return nil, nil
	}
	p, err := b.c.Password(ctx)
	if err != nil {
		return nil, err
	}
	return &http.BasicAuth{Username: "x-access-token", Password: p}, nil
}

// remoteTip fetches a branch and says what it is at; the zero hash where there is none.
func (b *Branch) remoteTip(ctx context.Context, name plumbing.ReferenceName) (plumbing.Hash, error) {
	auth, err := b.auth(ctx)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	found, err := b.listed(ctx, name, auth)
	if err != nil || found.IsZero() {
		return found, err
	}
	spec := config.RefSpec(fmt.Sprintf("+%s:refs/countersign/fetched/%s", name, name.Short()))
	for attempt := 1; ; attempt++ {
		err = b.remote().FetchContext(ctx, &gogit.FetchOptions{RemoteName: "origin", RefSpecs: []config.RefSpec{spec}, Auth: auth, Tags: gogit.NoTags, Force: true})
		if err == nil || errors.Is(err, gogit.NoErrAlreadyUpToDate) {
			break
		}
		err = fmt.Errorf("fetch %s: %w", name.Short(), err)
		// Another run may have moved the branch, or let go of the lease, since it was listed.
		now, lerr := b.listed(ctx, name, auth)
		switch {
		case lerr != nil || now == found || attempt == maxFetches:
			return plumbing.ZeroHash, errors.Join(err, lerr)
		case now.IsZero():
			return now, nil
		}
		found = now
	}
	r, err := b.repo.Reference(plumbing.ReferenceName("refs/countersign/fetched/"+name.Short()), true)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return r.Hash(), nil
}

// maxFetches is how often a branch that keeps moving is fetched.
const maxFetches = 5

// listed is what a branch of the remote is at; the zero hash where there is none.
func (b *Branch) listed(ctx context.Context, name plumbing.ReferenceName, auth transport.AuthMethod) (plumbing.Hash, error) {
	refs, err := b.remote().ListContext(ctx, &gogit.ListOptions{Auth: auth})
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return plumbing.ZeroHash, nil
	}
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("read the branches of the remote: %w", err)
	}
	for _, r := range refs {
		if r.Name() == name {
			return r.Hash(), nil
		}
	}
	return plumbing.ZeroHash, nil
}

// Pull brings what the branch has into the ledger, having proven it. A ledger with records and no branch yet begins one.
func (b *Branch) Pull(ctx context.Context, l *ledger.Ledger) error {
	if err := b.open(); err != nil {
		return fmt.Errorf("open the clone of the ledger's branch: %w", err)
	}
	tip, err := b.remoteTip(ctx, b.ref())
	if err != nil {
		return err
	}
	known := plumbing.ZeroHash
	if r, err := b.repo.Reference(trusted, true); err == nil {
		known = r.Hash()
	} else if !errors.Is(err, plumbing.ErrReferenceNotFound) {
		return err
	}
	sequence, _, err := l.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the ledger's head: %w", err)
	}
	if tip.IsZero() {
		if !known.IsZero() || b.c.Anchor != "" {
			return &RewrittenError{Was: known.String(), Is: "gone"}
		}
		b.tip = plumbing.ZeroHash
		if sequence == 0 {
			return nil
		}
		return b.begin(ctx, l)
	}
	commits, err := b.line(tip, known, sequence)
	if err != nil {
		return err
	}
	if err := l.Import(ctx, b.records(ctx, commits)); err != nil {
		if errors.Is(err, ledger.ErrForeignRecord) {
			return b.foreign(ctx, l, tip, err)
		}
		return err
	}
	if err := b.agrees(ctx, l, tip); err != nil {
		return err
	}
	b.tip = tip
	return b.repo.Storer.SetReference(plumbing.NewHashReference(trusted, tip))
}

// foreign tells a branch that was altered from a ledger that is another one.
func (b *Branch) foreign(ctx context.Context, l *ledger.Ledger, tip plumbing.Hash, err error) error {
	sequence, _, herr := l.Head(ctx)
	if herr != nil {
		return herr
	}
	if sequence > 0 {
		return fmt.Errorf("%w: %w (the branch is the truth: move the local file away, and run again)", ErrDiverged, err)
	}
	return &AlteredError{Commit: tip.String(), What: err.Error()}
}

// agrees holds the end of the local ledger against the branch's last commit.
func (b *Branch) agrees(ctx context.Context, l *ledger.Ledger, tip plumbing.Hash) error {
	sequence, hash, err := l.Head(ctx)
	if err != nil {
		return err
	}
	c, err := b.repo.CommitObject(tip)
	if err != nil {
		return err
	}
	m := message.FindStringSubmatch(c.Message)
	if m == nil {
		return &AlteredError{Commit: tip.String(), What: "its message is not the ledger's"}
	}
	if m[2] != fmt.Sprint(sequence) || m[3] != hash {
		return fmt.Errorf("%w: it ends with record %d, and the branch with record %s (the branch is the truth: move the local file away, and run again)", ErrDiverged, sequence, m[2])
	}
	return nil
}

// message of a commit: which records it holds, and the hash of the last.
var message = regexp.MustCompile(`^ledger: records ([0-9]+) to ([0-9]+)\n\nhead ([0-9a-f]{64})\n?$`)

// line are the commits that hold records after a sequence, oldest first. On the way from the tip there must be the one
// that is known, each commit must have one parent, and the first none.
func (b *Branch) line(tip, known plumbing.Hash, sequence int64) ([]*object.Commit, error) {
	var out []*object.Commit
	anchored, met := b.c.Anchor == "" || !known.IsZero(), known.IsZero()
	after := int64(0) // the first record of the commit that follows
	for h := tip; ; {
		anchored, met = anchored || h.String() == b.c.Anchor, met || h == known
		c, err := b.repo.CommitObject(h)
		if err != nil {
			return nil, &AlteredError{Commit: h.String(), What: "it cannot be read: " + err.Error()}
		}
		m := message.FindStringSubmatch(c.Message)
		if m == nil {
			return nil, &AlteredError{Commit: h.String(), What: "its message is not the ledger's"}
		}
		first, err := strconv.ParseInt(m[1], 10, 64)
		last, lerr := strconv.ParseInt(m[2], 10, 64)
		if err != nil || lerr != nil || first > last || after != 0 && last != after-1 || len(c.ParentHashes) == 0 && first != 1 {
			return nil, &AlteredError{Commit: h.String(), What: "the records of its message do not go on to the next commit's"}
		}
		after = first
		if last > sequence {
			out = append(out, c)
		} else if anchored && met {
			break
		}
		if len(c.ParentHashes) > 1 {
			return nil, &AlteredError{Commit: h.String(), What: "it is a merge"}
		}
		if len(c.ParentHashes) == 0 {
			if !met {
				return nil, &RewrittenError{Was: known.String(), Is: tip.String()}
			}
			if !anchored {
				return nil, &RewrittenError{Was: b.c.Anchor, Is: tip.String()}
			}
			break
		}
		h = c.ParentHashes[0]
	}
	slices.Reverse(out)
	return out, nil
}

var fileName = regexp.MustCompile(`^[0-9]{4}/[0-9]{2}/[0-9]{2}/[0-9]{12}\.jsonl$`)

// records are the lines of what the commits add.
func (b *Branch) records(ctx context.Context, commits []*object.Commit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for i, c := range commits {
			b.c.Progress("read the ledger's branch", i, len(commits))
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			if err := b.lines(c, yield); err != nil {
				if !errors.Is(err, errStopped) {
					yield("", err)
				}
				return
			}
		}
	}
}

var errStopped = errors.New("stopped")

func (b *Branch) lines(c *object.Commit, yield func(string, error) bool) (err error) {
	altered := func(name, what string) error {
		return &AlteredError{Commit: c.Hash.String(), Path: name, What: what}
	}
	name, blob, err := b.added(c)
	if err != nil {
		return err
	}
	m := message.FindStringSubmatch(c.Message)
	if m == nil {
		return altered("", "its message is not the ledger's")
	}
	if want := fmt.Sprintf("%s.jsonl", pad(m[1])); path.Base(name) != want {
		return altered(name, "its message speaks of records that the file's name does not")
	}
	if blob.Size > maxFile {
		return altered(name, "it is too large")
	}
	r, err := blob.Reader()
	if err != nil {
		return altered(name, "it cannot be read")
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	s.Split(wholeLines)
	for s.Scan() {
		if !yield(s.Text(), nil) {
			return errStopped
		}
	}
	if s.Err() != nil {
		return altered(name, s.Err().Error())
	}
	return nil
}

func pad(sequence string) string { return strings.Repeat("0", max(12-len(sequence), 0)) + sequence }

// wholeLines splits like bufio.ScanLines, and refuses a last line without its end, and empty ones.
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	i := bytes.IndexByte(data, '\n')
	switch {
	case i == 0:
		return 0, nil, errors.New("it has an empty line")
	case i > 0:
		return i + 1, data[:i], nil
	case atEOF && len(data) > 0:
		return 0, nil, errors.New("its last line is cut off")
	}
	return 0, nil, nil
}

// added is the one file that a commit adds.
func (b *Branch) added(c *object.Commit) (string, *object.Blob, error) {
	altered := func(name, what string) error {
		return &AlteredError{Commit: c.Hash.String(), Path: name, What: what}
	}
	before := map[string]object.TreeEntry{}
	tree, err := c.Tree()
	if err != nil {
		return "", nil, altered("", "its tree cannot be read")
	}
	var was *object.Tree
	if len(c.ParentHashes) > 0 {
		parent, err := b.repo.CommitObject(c.ParentHashes[0])
		if err != nil {
			return "", nil, err
		}
		if was, err = parent.Tree(); err != nil {
			return "", nil, altered("", "its parent's tree cannot be read")
		}
	}
	// Down the one way that differs: on each level exactly one entry is new or other.
	name := ""
	for depth := 0; ; depth++ {
		clear(before)
		if was != nil {
			for _, e := range was.Entries {
				before[e.Name] = e
			}
		}
		var differs []object.TreeEntry
		for _, e := range tree.Entries {
			old, ok := before[e.Name]
			if !ok || old != e {
				differs = append(differs, e)
			}
			delete(before, e.Name)
		}
		switch {
		case len(before) > 0:
			return "", nil, altered(name, "it removes something")
		case len(differs) != 1:
			return "", nil, altered(name, fmt.Sprintf("it changes %d entries at once", len(differs)))
		}
		e := differs[0]
		name = path.Join(name, e.Name)
		if depth == 3 {
			if e.Mode != filemode.Regular || !fileName.MatchString(name) {
				return "", nil, altered(name, "it is no file of the ledger")
			}
			if was != nil {
				for _, o := range was.Entries {
					if o.Name == e.Name {
						return "", nil, altered(name, "it changes a file")
					}
				}
			}
			blob, err := b.repo.BlobObject(e.Hash)
			if err != nil {
				return "", nil, altered(name, "it cannot be read")
			}
			return name, blob, nil
		}
		if e.Mode != filemode.Dir {
			return "", nil, altered(name, "it is no folder of the ledger")
		}
		if tree, err = b.repo.TreeObject(e.Hash); err != nil {
			return "", nil, altered(name, "it cannot be read")
		}
		below := was
		was = nil
		if below != nil {
			for _, o := range below.Entries {
				if o.Name != e.Name {
					continue
				}
				if o.Mode != filemode.Dir {
					return "", nil, altered(name, "it puts a folder in a file's place")
				}
				if was, err = b.repo.TreeObject(o.Hash); err != nil {
					return "", nil, altered(name, "it cannot be read")
				}
			}
		}
	}
}

// begin pushes what a ledger has to a branch that is not there yet.
func (b *Branch) begin(ctx context.Context, l *ledger.Ledger) error {
	var batch ledger.Batch
	tip := plumbing.ZeroHash
	flush := func() error {
		if len(batch.Lines) == 0 {
			return nil
		}
		next, err := b.commit(tip, batch)
		tip, batch = next, ledger.Batch{}
		return err
	}
	err := l.Lines(ctx, 1, func(sequence int64, hash, line string) error {
		if len(batch.Lines) == 0 {
			batch.First = sequence
		}
		batch.Last, batch.Head, batch.Lines = sequence, hash, append(batch.Lines, line)
		if len(batch.Lines) < maxPush {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return fmt.Errorf("begin the ledger's branch: %w", err)
	}
	return b.push(ctx, tip)
}

// Replicate pushes a batch. It is ledger.Config.Replicate.
func (b *Branch) Replicate(ctx context.Context, batch ledger.Batch) error {
	if b.repo == nil {
		return errors.New("the ledger's branch was not pulled")
	}
	next, err := b.commit(b.tip, batch)
	if err != nil {
		return fmt.Errorf("write to the ledger's branch: %w", err)
	}
	if err := b.push(ctx, next); err != nil {
		return err
	}
	return b.renew(ctx)
}

// commit writes one, of one file more.
func (b *Branch) commit(parent plumbing.Hash, batch ledger.Batch) (plumbing.Hash, error) {
	now := b.c.Now().UTC()
	blob, err := b.store(plumbing.BlobObject, func(w io.Writer) error {
		for _, l := range batch.Lines {
			if _, err := io.WriteString(w, l+"\n"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return plumbing.ZeroHash, err
	}
	var root *object.Tree
	c := &object.Commit{Message: fmt.Sprintf("ledger: records %d to %d\n\nhead %s\n", batch.First, batch.Last, batch.Head)}
	if !parent.IsZero() {
		c.ParentHashes = []plumbing.Hash{parent}
		p, err := b.repo.CommitObject(parent)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if root, err = p.Tree(); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	way := append(strings.Split(now.Format("2006/01/02"), "/"), pad(fmt.Sprint(batch.First))+".jsonl")
	if c.TreeHash, err = b.insert(root, way, blob); err != nil {
		return plumbing.ZeroHash, err
	}
	c.Author = object.Signature{Name: "countersign", Email: "countersign@localhost.invalid", When: now}
	c.Committer = c.Author
	return b.store(plumbing.CommitObject, func(w io.Writer) error { return encode(w, c) })
}

// insert puts a file into a tree, under folders.
func (b *Branch) insert(t *object.Tree, way []string, blob plumbing.Hash) (plumbing.Hash, error) {
	var entries []object.TreeEntry
	var below *object.Tree
	if t != nil {
		for _, e := range t.Entries {
			if e.Name != way[0] {
				entries = append(entries, e)
				continue
			}
			if len(way) == 1 {
				return plumbing.ZeroHash, fmt.Errorf("there is a file %s already", way[0])
			}
			var err error
			if below, err = b.repo.TreeObject(e.Hash); err != nil {
				return plumbing.ZeroHash, err
			}
		}
	}
	entry := object.TreeEntry{Name: way[0], Mode: filemode.Regular, Hash: blob}
	if len(way) > 1 {
		entry.Mode = filemode.Dir
		var err error
		if entry.Hash, err = b.insert(below, way[1:], blob); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	entries = append(entries, entry)
	// Names have one length on each level, so that the order of bytes is Git's.
	slices.SortFunc(entries, func(x, y object.TreeEntry) int { return strings.Compare(x.Name, y.Name) })
	return b.store(plumbing.TreeObject, func(w io.Writer) error { return encode(w, &object.Tree{Entries: entries}) })
}

type encoder interface {
	Encode(plumbing.EncodedObject) error
}

// encode writes an object as go-git does.
func encode(w io.Writer, e encoder) error {
	o := &plumbing.MemoryObject{}
	if err := e.Encode(o); err != nil {
		return err
	}
	r, err := o.Reader()
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, r.Close())
}

func (b *Branch) store(kind plumbing.ObjectType, write func(io.Writer) error) (plumbing.Hash, error) {
	o := b.repo.Storer.NewEncodedObject()
	o.SetType(kind)
	w, err := o.Writer()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if err := errors.Join(write(w), w.Close()); err != nil {
		return plumbing.ZeroHash, err
	}
	return b.repo.Storer.SetEncodedObject(o)
}

// maxTries is how often a push is tried whose end is not known.
const maxTries = 4

// push moves the branch from the tip that was read to next, or says ErrMoved. After a fault whose end is not known it
// looks whether the commit has arrived.
func (b *Branch) push(ctx context.Context, next plumbing.Hash) error {
	local := plumbing.ReferenceName("refs/countersign/next")
	if err := b.repo.Storer.SetReference(plumbing.NewHashReference(local, next)); err != nil {
		return err
	}
	var failed error
	for try := range maxTries {
		if try > 0 {
			wait := time.Duration(try)*200*time.Millisecond + rand.N(200*time.Millisecond)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
		}
		err := b.pushRef(ctx, local, b.ref(), b.tip)
		if err == nil {
			b.tip = next
			return b.repo.Storer.SetReference(plumbing.NewHashReference(trusted, next))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = err
		is, err := b.remoteTip(ctx, b.ref())
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
		case is == next:
			b.tip = next
			return b.repo.Storer.SetReference(plumbing.NewHashReference(trusted, next))
		case is != b.tip:
			return ErrMoved
		}
	}
	return fmt.Errorf("push to the ledger's branch: %w", failed)
}

// pushRef moves a reference of the remote from what it was read to be; the zero hash is not there. A zero from makes it,
// an empty local removes it. The server refuses when it is at something else by then.
func (b *Branch) pushRef(ctx context.Context, local, to plumbing.ReferenceName, from plumbing.Hash) error {
	auth, err := b.auth(ctx)
	if err != nil {
		return err
	}
	o := &gogit.PushOptions{RemoteName: "origin", Auth: auth, RefSpecs: []config.RefSpec{config.RefSpec(string(local) + ":" + string(to))}}
	if !from.IsZero() {
		o.RefSpecs[0] = "+" + o.RefSpecs[0]
		if local == "" {
			o.RefSpecs[0] = config.RefSpec(":" + string(to))
		}
		o.RequireRemoteRefs = []config.RefSpec{config.RefSpec(from.String() + ":" + string(to))}
	}
	err = b.remote().PushContext(ctx, o)
	if errors.Is(err, gogit.NoErrAlreadyUpToDate) {
		return nil
	}
	return err
}
