package judge

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/index"
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
func (j *Judge) prepare(ctx context.Context, c *history.Commit, settings *schemas.SettingsSpec) *prepared {
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
		if content, err := j.config.Repository.Blob(f.After.Blob, schemas.MaxFileBytes); err == nil {
			docs, errs := strict.Decode(f.Path, content)
			p.decoded[f.Path] = decodedFile{f.After.Blob, docs, errs}
		}
	}
	p.merged, p.mergedErr = j.config.Repository.MergedCommits(ctx, c)
	return p
}

// readAhead reads the commits after from, in a goroutine of its own. Call stop before anything else is done.
func (j *Judge) readAhead(ctx context.Context, from, to string, settings *schemas.SettingsSpec) (next func() (*prepared, error), stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan *prepared, maxPrepared)
	var walked error
	go func() {
		defer close(out)
		walked = j.config.Repository.Walk(ctx, from, to, ControlFiles{settings}, func(c *history.Commit) error {
			select {
			case out <- j.prepare(ctx, c, settings):
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

// lookahead is a walk along the branch.
type lookahead struct {
	judge  *Judge
	index  *index.Index
	ledger *ledger.Ledger
	trust  *Trust
	// known says that the ledger has verdicts.
	known bool

	// waiting are the merges that were examined and are not settled yet, the oldest first; layer and head are
	// what the index becomes when each turns out as assumed.
	waiting []*waiting
	weight  int
	layer   *index.Layer
	head    index.Head
	// again are merges to examine anew.
	again []*prepared
	// limit is how many may wait; age is how many were examined since the layer was made.
	limit, age int
	done       int
	// examined is how many were examined, percentage the garbage collector's where it was raised.
	examined, percentage int

	slots   chan struct{}
	judging sync.WaitGroup
}

// waiting is a merge that was examined.
type waiting struct {
	*prepared
	examination *Examination // nil when no control file changed
	head        index.Head
	weight      int
	admits      bool // as is assumed
	// verdict is closed when record and err are there.
	verdict chan struct{}
	record  *schemas.AdmissionRecord
	err     error
}

// reconfigures says whether the merge may change what later ones are judged by.
func (w *waiting) reconfigures() bool {
	return w.examination != nil && slices.ContainsFunc(w.examination.files, func(f *file) bool { return f.class != schemas.ClassRequest })
}

// walk judges the commits after the index's tip.
func (j *Judge) walk(ctx context.Context, x *index.Index, l *ledger.Ledger, to string) (err error) {
	if x.Head.Tip == to {
		return nil
	}
	a := &lookahead{judge: j, index: x, ledger: l, limit: maxAhead, slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
	if _, a.known, err = l.LastAdmission(ctx); err != nil {
		return err
	}
	if a.trust, err = j.readTrust(ctx, x.Layer); err != nil {
		return err
	}
	defer a.judging.Wait()
	defer a.restoreCollector()
	a.restart()
	for x.Head.Tip != to {
		settings := &a.trust.Settings.Spec
		if err := a.judgeUntil(ctx, to, settings); err != nil {
			return fmt.Errorf("judge the merges: %w", err)
		}
	}
	return nil
}

// collectLess has garbage collected less often from the time on that many merges are judged, unless the operator says how
// often (GOGC).
func (a *lookahead) collectLess() {
	if a.examined++; a.examined != coldAfter {
		return
	}
	if a.percentage = debug.SetGCPercent(coldGC); a.percentage != 100 {
		debug.SetGCPercent(a.percentage)
		a.percentage = 0
	}
}

func (a *lookahead) restoreCollector() {
	if a.percentage != 0 {
		debug.SetGCPercent(a.percentage)
	}
}

// judgeUntil judges until the end of the branch, or until other files than the settings said are to be read.
func (a *lookahead) judgeUntil(ctx context.Context, to string, settings *schemas.SettingsSpec) error {
	next, stop := a.judge.readAhead(ctx, a.index.Head.Tip, to, settings)
	defer stop()
	for {
		var p *prepared
		switch {
		case len(a.again) > 0:
			p, a.again = a.again[0], a.again[1:]
		default:
			var err error
			if p, err = next(); err != nil {
				return err
			}
		}
		if p == nil {
			if len(a.waiting) == 0 {
				return nil
			}
			if err := a.settle(ctx); err != nil {
				return err
			}
			continue
		}
		if err := a.begin(ctx, p); err != nil {
			return err
		}
		if now := &a.trust.Settings.Spec; now.AllowedSigners != settings.AllowedSigners || now.Folders != settings.Folders {
			a.again = nil
			a.restart()
			return nil
		}
	}
}

// restart forgets what was examined ahead.
func (a *lookahead) restart() {
	a.waiting, a.weight, a.age = nil, 0, 0
	a.layer, a.head = a.index.Fork(), a.index.Head
}

func (a *lookahead) full() bool {
	n := len(a.waiting)
	return n > 0 && (n >= a.limit || a.weight > maxAheadWeight || a.age > maxAge || a.waiting[n-1].reconfigures())
}

// begin examines the next commit and has it judged.
func (a *lookahead) begin(ctx context.Context, p *prepared) error {
	for a.full() {
		redo := len(a.again)
		if err := a.settle(ctx); err != nil {
			return err
		}
		if len(a.again) > redo {
			// Those before it come first.
			a.again = slices.Insert(a.again, len(a.again)-redo, p)
			return nil
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	a.collectLess()
	c := p.commit
	w := &waiting{prepared: p, head: a.head, admits: true, verdict: make(chan struct{})}
	w.head.Tip, w.head.Sequence = c.Hash, a.head.Sequence+1
	// The pusher chooses commit dates: never before what came before, never ahead of the clock.
	w.head.Instant = min(max(a.head.Instant, c.CommittedAt.Unix()), a.judge.now().Unix())
	if err := a.examine(ctx, w); err != nil {
		return fmt.Errorf("commit %s: %w", short(c.Hash), err)
	}
	a.head = w.head
	a.age++
	a.waiting = append(a.waiting, w)
	return nil
}

// examine says what the commit means on top of those before it, and begins to judge it.
func (a *lookahead) examine(ctx context.Context, w *waiting) (err error) {
	c := w.commit
	if len(c.Changes) == 0 {
		close(w.verdict)
		return nil
	}
	now := time.Unix(w.head.Instant, 0).UTC()
	in := proposal{changes: c.Changes, decoded: w.decoded, sequence: w.head.Sequence, now: now}
	if a.known {
		if w.record, in.known, err = a.ledger.Admission(ctx, c.Hash); err != nil {
			return err
		}
	}
	if w.examination, err = a.judge.examine(ctx, a.layer, a.trust, in); err != nil {
		return err
	}
	w.weight = len(w.examination.files) + w.examination.bearing
	a.weight += w.weight
	switch {
	case len(w.examination.files) == 0:
		close(w.verdict)
	case w.record != nil || len(w.examination.Errors) > 0:
		if w.record == nil {
			w.record = w.examination.refuse(c)
		}
		w.admits = w.admitted()
		close(w.verdict)
	default:
		w.record = w.examination.record(c)
		a.slots <- struct{}{}
		a.judging.Go(func() {
			w.err = a.judge.verdict(ctx, w.examination, w.prepared, w.record, now)
			w.examination.Changes, w.examination.desired = nil, nil // large, and of no further use
			<-a.slots
			close(w.verdict)
		})
	}
	w.write(a.layer, w.admits)
	return nil
}

// admitted says how it was judged.
func (w *waiting) admitted() bool {
	return w.record.Verdict != VerdictQuarantined && len(w.examination.Errors) == 0
}

// write puts what the merge leaves into a layer.
func (w *waiting) write(to *index.Layer, admitted bool) {
	for _, f := range w.examination.restored {
		to.SetFile(f)
	}
	if len(w.examination.files) == 0 {
		return
	}
	if admitted {
		w.examination.stamp(w.commit.Hash)
		w.examination.head.MergeInto(to)
		return
	}
	// Quarantined: the branch has it, and it has no effect.
	for _, f := range w.examination.files {
		q := &index.File{Path: f.path, Class: string(f.class)}
		if f.was != nil {
			*q = *f.was
		}
		q.Raw, q.Quarantine, q.Reasons = f.after, w.commit.Hash, w.record.Reasons
		to.SetFile(q)
	}
}

// settle waits for the verdict on the oldest merge and writes it to the index.
func (a *lookahead) settle(ctx context.Context) error {
	w := a.waiting[0]
	<-w.verdict
	if w.err != nil {
		return fmt.Errorf("commit %s: %w", short(w.commit.Hash), w.err)
	}
	a.waiting = a.waiting[1:]
	if a.done++; a.done%100 == 0 {
		a.judge.config.Progress("judge merges", a.done, 0)
	}
	a.index.Head = w.head
	if w.examination == nil {
		return nil
	}
	a.weight -= w.weight
	admitted := true
	if len(w.examination.files) > 0 {
		admitted = w.admitted()
		a.index.Verdicts = append(a.index.Verdicts, *w.record)
	}
	w.write(a.index.Layer, admitted)
	switch {
	case admitted != w.admits:
		redo := make([]*prepared, 0, len(a.waiting)+len(a.again))
		for _, later := range a.waiting {
			redo = append(redo, later.prepared)
		}
		a.again = append(redo, a.again...)
		a.restart()
		a.limit = 1
	case len(a.waiting) == 0:
		a.restart()
		fallthrough
	default:
		a.limit = min(a.limit*2, maxAhead)
	}
	if admitted && w.reconfigures() {
		// The next commit is judged by what this one left.
		a.judging.Wait()
		var err error
		if a.trust, err = a.judge.readTrust(ctx, a.index.Layer); err != nil {
			return fmt.Errorf("commit %s: %w", short(w.commit.Hash), err)
		}
	}
	if len(a.index.Verdicts) >= saveEvery {
		return a.index.Save(ctx)
	}
	return nil
}
