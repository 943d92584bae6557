package branch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/seal"
)

// DefaultName is the branch.
const DefaultName = "countersign/ledger"

// Config configures a Branch.
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
	// Key is the operator's key: it signs the lease, and what the branch has must be signed by it. nil is none.
	Key *seal.Key
	// Holder names the holder of the lease, for people.
	Holder string
	// Lease is how long a lease may go unrenewed before another run takes it over; 0 is five minutes.
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

// Branch is the ledger's branch. Its methods may be called by several goroutines; one works at a time.
type Branch struct {
	mu     sync.Mutex
	config Config
	repo   *gogit.Repository
	// tip is the commit of the branch that was read or written last; the zero hash where there is none yet.
	tip plumbing.Hash
	// lease is the one that this process holds; the zero hash for none.
	lease   plumbing.Hash
	renewed time.Time
	// claimed is when the newest lease that was seen was taken, by its holder's clock: older ones are put back by somebody.
	claimed time.Time
	// witnessed is where the witness's reference of the remote was when its references were listed last.
	witnessed plumbing.Hash
	// unwitnessed means that the remote doesn't let this run move the witness's reference.
	unwitnessed bool
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
	return &Branch{config: c}, nil
}

func (b *Branch) ref() plumbing.ReferenceName { return plumbing.NewBranchReferenceName(b.config.Name) }

func (b *Branch) leaseRef() plumbing.ReferenceName {
	return plumbing.NewBranchReferenceName(b.config.Name + "-lease")
}

// witness is the reference of the remote that is moved with the branch, so that a branch that is deleted or put back is
// noticed, and nothing of it is lost.
const witness = plumbing.ReferenceName("refs/countersign/head")

// trusted is the reference of the clone that remembers the last valid tip.
const trusted = plumbing.ReferenceName("refs/countersign/trusted")

func (b *Branch) open() error {
	if b.repo != nil {
		return nil
	}
	repo, err := gogit.PlainOpen(b.config.Dir)
	if errors.Is(err, gogit.ErrRepositoryNotExists) {
		if err := os.MkdirAll(b.config.Dir, 0o700); err != nil {
			return err
		}
		repo, err = gogit.PlainInit(b.config.Dir, true)
	}
	b.repo = repo
	return err
}

// Pull brings what the branch has into the ledger, after proving it. A ledger with records and no branch yet begins one.
func (b *Branch) Pull(ctx context.Context, l *ledger.Ledger) error {
	b.mu.Lock()
	defer b.mu.Unlock()
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
		if !known.IsZero() || b.config.Anchor != "" {
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
	note, err := b.signed(ctx, l, tip)
	if err != nil {
		return err
	}
	if err := l.Import(ctx, b.records(ctx, commits), note); err != nil {
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

// signed is the note of a commit, which the run's own key must have signed, unless nothing of the ledger is signed: then
// its authority decides whether that may be.
func (b *Branch) signed(ctx context.Context, l *ledger.Ledger, tip plumbing.Hash) (string, error) {
	c, err := b.repo.CommitObject(tip)
	if err != nil {
		return "", &AlteredError{Commit: tip.String(), What: "it cannot be read: " + err.Error()}
	}
	m := message.FindStringSubmatch(c.Message)
	if m == nil {
		return "", &AlteredError{Commit: tip.String(), What: "its message is not the ledger's"}
	}
	had, err := l.Note(ctx)
	if err != nil || m[4] == "" && had == "" {
		return "", err
	}
	if b.config.Key == nil {
		return m[4], nil // a reader: the ledger's authority has the key
	}
	h, err := b.config.Key.Public().Open(m[4])
	if err != nil || fmt.Sprint(h.Sequence) != m[2] || h.Hash != m[3] {
		return "", &AlteredError{Commit: tip.String(), What: "it isn't signed by this run's key"}
	}
	return m[4], nil
}

// Name names the branch as a witness of what was recorded.
func (b *Branch) Name() string { return "the reference " + string(witness) + " of the remote" }

// Last returns the note of the head that the remote's witness knows; "" for none. Anyone who can push can move it: the
// note is believed when it is signed. Pull comes first.
func (b *Branch) Last(ctx context.Context) (string, error) {
	if err := b.open(); err != nil {
		return "", err
	}
	tip := b.witnessed // as Pull saw it
	if tip.IsZero() {
		return "", nil
	}
	if tip != b.tip {
		var err error
		if tip, err = b.remoteTip(ctx, witness); err != nil || tip.IsZero() {
			return "", err
		}
	}
	c, err := b.repo.CommitObject(tip)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return "", nil // something else
	}
	if err != nil {
		return "", err
	}
	m := message.FindStringSubmatch(c.Message)
	if m == nil {
		return "", nil
	}
	if m[4] != "" {
		return m[4], nil
	}
	last, err := strconv.ParseInt(m[2], 10, 64)
	if err != nil {
		return "", nil
	}
	return seal.Head{Sequence: last, Hash: m[3]}.Text(), nil
}

// Leave does nothing: each push moves the witness.
func (b *Branch) Leave(context.Context, string) error { return nil }

// foreign distinguishes an altered branch from a different ledger.
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

// agrees compares the end of the local ledger with the branch's last commit.
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

// maxPush bounds a commit's records, where many are pushed at once.
const maxPush = 20_000

// begin pushes a ledger's records to a new branch.
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
	note, err := l.Note(ctx)
	if err != nil {
		return err
	}
	last, _, err := l.Head(ctx)
	if err != nil {
		return err
	}
	err = l.Lines(ctx, 1, func(sequence int64, hash, line string) error {
		if len(batch.Lines) == 0 {
			batch.First = sequence
		}
		batch.Last, batch.Head, batch.Lines = sequence, hash, append(batch.Lines, line)
		if sequence == last {
			batch.Note = note
		}
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
	b.mu.Lock()
	defer b.mu.Unlock()
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
