package reconciler

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/history/order"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// Merges are judged one after the other, since each stands on what the former ones left. But most are
// admitted. So the next ones are examined as if those before were, while these are still being judged; where
// one was not, what was examined after it is examined again. Reading Git runs ahead of both.
const (
	// maxAhead is how many merges wait for their verdict at a time.
	maxAhead = 64
	// maxAheadWeight bounds the files of these merges and the connections that they bear on.
	maxAheadWeight = 4096
	// maxAge is after how many merges the layer of what is ahead is made anew, lest it holds the index twice.
	maxAge = 1024
	// maxPrepared is how many merges reading may be ahead.
	maxPrepared = 32
	// coldAfter is after how many merges the index is being built rather than brought up to date: most of what is made
	// then is garbage at once, and collecting it less often takes a seventh of the time off, for some memory.
	coldAfter, coldGC = 512, 200
	// saveEvery is how many verdicts are kept in memory before they are saved.
	saveEvery = 2000
)

// prepared is a commit of the branch with all that reading it takes no judgement for.
type prepared struct {
	commit *history.Commit
	// merged are the commits that it brought.
	merged    []*history.Commit
	mergedErr error
	decoded   decodedFiles
}

// decodedFiles are request files as the commit leaves them, by path.
type decodedFiles map[string]decodedFile

type decodedFile struct {
	blob string
	docs []schemas.Document
	errs schemas.ErrorList
}

// prepare reads a commit's files and where it came from.
func (r *Reconciler) prepare(ctx context.Context, c *history.Commit, settings *schemas.SettingsSpec) *prepared {
	p := &prepared{commit: c}
	if len(c.Changes) == 0 {
		return p
	}
	p.decoded = decodedFiles{}
	for _, f := range c.Changes {
		if class, _ := schemas.IsControlFile(f.Path, settings); class != schemas.ClassRequest || f.After.Blob == "" {
			continue
		}
		// What cannot be read is read again, and said, where it is judged.
		if content, err := r.c.Repository.Blob(f.After.Blob, schemas.MaxFileBytes); err == nil {
			docs, errs := strict.Decode(f.Path, content)
			p.decoded[f.Path] = decodedFile{f.After.Blob, docs, errs}
		}
	}
	p.merged, p.mergedErr = r.c.Repository.MergedCommits(ctx, c)
	return p
}

// ahead reads the commits after from, in a goroutine of its own. Call stop before anything else is done.
func (r *Reconciler) ahead(ctx context.Context, from, to string, settings *schemas.SettingsSpec) (next func() (*prepared, error), stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan *prepared, maxPrepared)
	var walked error
	go func() {
		defer close(out)
		walked = r.c.Repository.Walk(ctx, from, to, filter{settings}, func(c *history.Commit) error {
			select {
			case out <- r.prepare(ctx, c, settings):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	next = func() (*prepared, error) {
		p, ok := <-out
		if !ok {
			return nil, walked
		}
		return p, nil
	}
	stop = func() {
		cancel()
		for range out {
		}
	}
	return next, stop
}

// judging is a walk along the branch.
type judging struct {
	r *Reconciler
	x *order.Index
	l *ledger.Ledger
	t *trust
	// known says that the ledger has verdicts.
	known bool

	// waiting are the merges that were examined and are not settled yet, the oldest first; layer and head are
	// what the index becomes when each turns out as assumed.
	waiting []*waiting
	weight  int
	layer   *order.Layer
	head    order.Head
	// again are merges to examine anew.
	again []*prepared
	// limit is how many may wait; age is how many were examined since the layer was made.
	limit, age int
	done       int
	// taken is how many were examined, was the garbage collector's percentage where it was raised.
	taken, was int

	slots   chan struct{}
	judging sync.WaitGroup
}

// waiting is a merge that was examined.
type waiting struct {
	*prepared
	e      *examined // nil when no control file changed
	head   order.Head
	weight int
	admits bool // as is assumed
	// verdict is closed when record and err are there.
	verdict chan struct{}
	record  *schemas.AdmissionRecord
	err     error
}

// reconfigures says whether the merge may change what later ones are judged by.
func (w *waiting) reconfigures() bool {
	return w.e != nil && slices.ContainsFunc(w.e.files, func(f *file) bool { return f.class != schemas.ClassRequest })
}

// walk judges the commits after the index's tip.
func (r *Reconciler) walk(ctx context.Context, x *order.Index, l *ledger.Ledger, to string) (err error) {
	if x.Head.Tip == to {
		return nil
	}
	j := &judging{r: r, x: x, l: l, limit: maxAhead, slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
	if _, j.known, err = l.LastAdmission(ctx); err != nil {
		return err
	}
	if j.t, err = r.trust(ctx, x.Layer); err != nil {
		return err
	}
	defer j.judging.Wait()
	defer j.warm()
	j.restart()
	for x.Head.Tip != to {
		settings := &j.t.settings.Spec
		if err := j.along(ctx, to, settings); err != nil {
			return fmt.Errorf("judge the merges: %w", err)
		}
	}
	return nil
}

// cold has garbage collected less often from the time on that many merges are judged, unless the operator says how
// often (GOGC).
func (j *judging) cold() {
	if j.taken++; j.taken != coldAfter {
		return
	}
	if j.was = debug.SetGCPercent(coldGC); j.was != 100 {
		debug.SetGCPercent(j.was)
		j.was = 0
	}
}

func (j *judging) warm() {
	if j.was != 0 {
		debug.SetGCPercent(j.was)
	}
}

// along judges until the end of the branch, or until other files than the settings said are to be read.
func (j *judging) along(ctx context.Context, to string, settings *schemas.SettingsSpec) error {
	next, stop := j.r.ahead(ctx, j.x.Head.Tip, to, settings)
	defer stop()
	for {
		var p *prepared
		switch {
		case len(j.again) > 0:
			p, j.again = j.again[0], j.again[1:]
		default:
			var err error
			if p, err = next(); err != nil {
				return err
			}
		}
		if p == nil {
			if len(j.waiting) == 0 {
				return nil
			}
			if err := j.settle(ctx); err != nil {
				return err
			}
			continue
		}
		if err := j.take(ctx, p); err != nil {
			return err
		}
		if now := &j.t.settings.Spec; now.AllowedSigners != settings.AllowedSigners || now.Folders != settings.Folders {
			j.again = nil
			j.restart()
			return nil
		}
	}
}

// restart forgets what was examined ahead.
func (j *judging) restart() {
	j.waiting, j.weight, j.age = nil, 0, 0
	j.layer, j.head = j.x.Fork(), j.x.Head
}

func (j *judging) full() bool {
	n := len(j.waiting)
	return n > 0 && (n >= j.limit || j.weight > maxAheadWeight || j.age > maxAge || j.waiting[n-1].reconfigures())
}

// take examines the next commit and has it judged.
func (j *judging) take(ctx context.Context, p *prepared) error {
	for j.full() {
		redo := len(j.again)
		if err := j.settle(ctx); err != nil {
			return err
		}
		if len(j.again) > redo {
			// Those before it come first.
			j.again = slices.Insert(j.again, len(j.again)-redo, p)
			return nil
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	j.cold()
	c := p.commit
	w := &waiting{prepared: p, head: j.head, admits: true, verdict: make(chan struct{})}
	w.head.Tip, w.head.Sequence = c.Hash, j.head.Sequence+1
	// The pusher chooses commit dates: never before what came before, never ahead of the clock.
	w.head.Instant = min(max(j.head.Instant, c.CommittedAt.Unix()), j.r.now().Unix())
	if err := j.examine(ctx, w); err != nil {
		return fmt.Errorf("commit %s: %w", short(c.Hash), err)
	}
	j.head = w.head
	j.age++
	j.waiting = append(j.waiting, w)
	return nil
}

// examine says what the commit means on top of those before it, and begins to judge it.
func (j *judging) examine(ctx context.Context, w *waiting) (err error) {
	c := w.commit
	if len(c.Changes) == 0 {
		close(w.verdict)
		return nil
	}
	now := time.Unix(w.head.Instant, 0).UTC()
	in := examination{changes: c.Changes, decoded: w.decoded, sequence: w.head.Sequence, now: now}
	if j.known {
		if w.record, in.known, err = j.l.Admission(ctx, c.Hash); err != nil {
			return err
		}
	}
	if w.e, err = j.r.examine(ctx, j.layer, j.t, in); err != nil {
		return err
	}
	w.weight = len(w.e.files) + w.e.bearing
	j.weight += w.weight
	switch {
	case len(w.e.files) == 0:
		close(w.verdict)
	case w.record != nil || len(w.e.errors) > 0:
		if w.record == nil {
			w.record = w.e.refuse(c)
		}
		w.admits = w.admitted()
		close(w.verdict)
	default:
		w.record = w.e.record(c)
		j.slots <- struct{}{}
		j.judging.Go(func() {
			w.err = j.r.verdict(ctx, w.e, w.prepared, w.record, now)
			w.e.changes, w.e.desired = nil, nil // large, and of no further use
			<-j.slots
			close(w.verdict)
		})
	}
	w.write(j.layer, w.admits)
	return nil
}

// admitted says how it was judged.
func (w *waiting) admitted() bool {
	return w.record.Verdict != verdictQuarantined && len(w.e.errors) == 0
}

// write puts what the merge leaves into a layer.
func (w *waiting) write(to *order.Layer, admitted bool) {
	for _, f := range w.e.restored {
		to.SetFile(f)
	}
	if len(w.e.files) == 0 {
		return
	}
	if admitted {
		w.e.stamp(w.commit.Hash)
		w.e.head.MergeInto(to)
		return
	}
	// Quarantined: the branch has it, and it has no effect.
	for _, f := range w.e.files {
		q := &order.File{Path: f.path, Class: string(f.class)}
		if f.was != nil {
			*q = *f.was
		}
		q.Raw, q.Quarantine, q.Reasons = f.after, w.commit.Hash, w.record.Reasons
		to.SetFile(q)
	}
}

// settle waits for the verdict on the oldest merge and writes it to the index.
func (j *judging) settle(ctx context.Context) error {
	w := j.waiting[0]
	<-w.verdict
	if w.err != nil {
		return fmt.Errorf("commit %s: %w", short(w.commit.Hash), w.err)
	}
	j.waiting = j.waiting[1:]
	if j.done++; j.done%100 == 0 {
		j.r.c.Progress("judge merges", j.done, 0)
	}
	j.x.Head = w.head
	if w.e == nil {
		return nil
	}
	j.weight -= w.weight
	admitted := true
	if len(w.e.files) > 0 {
		admitted = w.admitted()
		j.x.Verdicts = append(j.x.Verdicts, *w.record)
	}
	w.write(j.x.Layer, admitted)
	switch {
	case admitted != w.admits:
		redo := make([]*prepared, 0, len(j.waiting)+len(j.again))
		for _, later := range j.waiting {
			redo = append(redo, later.prepared)
		}
		j.again = append(redo, j.again...)
		j.restart()
		j.limit = 1
	case len(j.waiting) == 0:
		j.restart()
		fallthrough
	default:
		j.limit = min(j.limit*2, maxAhead)
	}
	if admitted && w.reconfigures() {
		// The next commit is judged by what this one left.
		j.judging.Wait()
		var err error
		if j.t, err = j.r.trust(ctx, j.x.Layer); err != nil {
			return fmt.Errorf("commit %s: %w", short(w.commit.Hash), err)
		}
	}
	if len(j.x.Verdicts) >= saveEvery {
		return j.x.Save(ctx)
	}
	return nil
}
