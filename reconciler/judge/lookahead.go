package judge

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/reconciler/excerpt"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// Merges are judged in order, because each depends on the result of those before it. Since most are admitted, the
// next merges are examined on the assumption that the earlier ones will be, while those are still being judged. If one
// is not admitted, the merges after it are examined again. Reading Git runs ahead of both.
const (
	// maxAhead is the maximum number of merges that wait for their verdict.
	maxAhead = 64
	// maxAheadWeight limits the files of these merges plus the connections folded for them.
	maxAheadWeight = 4096
	// maxAge is the number of merges after which the layer for lookahead is recreated, so that it does not grow to a
	// second copy of the index.
	maxAge = 1024
	// maxPrepared is the maximum number of merges that reading may be ahead.
	maxPrepared = 32
	// coldAfter is the number of merges after which this run counts as building the index rather than updating it. Most
	// allocations are then short-lived, and collecting garbage less often saves a seventh of the time for some memory.
	coldAfter, coldGC = 512, 200
	// saveEvery is the number of verdicts kept in memory before they are saved, saveAfter how long they are kept: a run
	// that is interrupted goes on from there.
	saveEvery = 2000
	saveAfter = 20 * time.Second
)

// prepared is a commit of the branch with everything about it that can be read without judging it.
type prepared struct {
	commit *history.Commit
	// merged are the commits that it brought to the branch.
	merged    []*history.Commit
	mergedErr error
	decoded   decodedFiles
}

// decodedFiles are the request files as the commit leaves them, by path.
type decodedFiles map[string]decodedFile

type decodedFile struct {
	blob string
	docs []schemas.Document
	errs schemas.ErrorList
}

// prepare reads a commit's files and the commits that it brought.
func (j *Judge) prepare(ctx context.Context, c *history.Commit, settings *schemas.SettingsSpec) *prepared {
	p := &prepared{commit: c}
	if len(c.Changes) == 0 {
		return p
	}
	p.decoded = decodedFiles{}
	for _, f := range c.Changes[:min(len(c.Changes), j.config.MaxFiles)] {
		if class, _ := schemas.IsControlFile(f.Path, settings); class != schemas.ClassRequest || f.After.Blob == "" {
			continue
		}
		// A file that cannot be read is read again, and the error reported, when the commit is judged.
		if content, err := j.config.Repository.Blob(f.After.Blob, schemas.MaxFileBytes); err == nil {
			docs, errs := strict.Decode(f.Path, content)
			p.decoded[f.Path] = decodedFile{f.After.Blob, docs, errs}
		}
	}
	p.merged, p.mergedErr = j.config.Repository.MergedCommits(ctx, c)
	return p
}

// readAhead reads the commits after from, in its own goroutine. Call stop before doing anything else.
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
	// known is set if the ledger contains verdicts.
	known bool
	// floor is the time of the ledger's last record in Unix seconds: no new verdict is made as of a time before it.
	floor int64

	// waiting are the merges that were examined and are not settled yet, oldest first; layer and head are the state of
	// the index if each verdict is as assumed.
	waiting []*waiting
	weight  int
	layer   *index.Layer
	head    index.Head
	// worlds are those of the layer, and settled those of the index.
	worlds, settled map[string]*excerpt.World
	// again are merges to examine again.
	again []*prepared
	// limit is the maximum number of waiting merges; age counts merges examined since the layer was created.
	limit, age int
	done       int
	// examined counts examined merges; percentage is the garbage collector's former setting, if it was raised.
	examined, percentage int

	// saved is when verdicts were saved last, or the walk began.
	saved time.Time

	slots   chan struct{}
	judging sync.WaitGroup
}

// waiting is a merge that was examined.
type waiting struct {
	*prepared
	examination *Examination // nil when no control file changed
	head        index.Head
	// strays are the files that change with this commit and that nothing accounts for: they are quarantined by themselves.
	strays []*index.File
	weight int
	admits bool // the assumed verdict
	// verdict is closed when record and err are set.
	verdict chan struct{}
	record  *schemas.AdmissionRecord
	err     error
}

// reconfigures reports whether the merge may change the Trust by which later merges are judged.
func (w *waiting) reconfigures() bool {
	return w.examination != nil && slices.ContainsFunc(w.examination.files, func(f *file) bool { return f.class != schemas.ClassRequest })
}

// walk judges the commits after the index's tip.
func (j *Judge) walk(ctx context.Context, x *index.Index, l *ledger.Ledger, to string) (err error) {
	if x.Head.Tip == to {
		return nil
	}
	a := &lookahead{judge: j, index: x, ledger: l, limit: maxAhead, saved: j.config.Now(), slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
	if _, a.known, err = l.LastAdmission(ctx); err != nil {
		return err
	}
	if last, err := l.LastRecord(ctx); err != nil {
		return err
	} else if last.Sequence > 0 {
		a.floor = last.Time.Unix()
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

// collectLess makes garbage collection less frequent once many merges have been judged, unless the operator has set
// GOGC.
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

// judgeUntil judges until the end of the branch, or until the settings change which files must be read.
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

// restart drops the merges that were examined ahead.
func (a *lookahead) restart() {
	a.waiting, a.weight, a.age = nil, 0, 0
	a.layer, a.head, a.worlds = a.index.Fork(), a.index.Head, a.settled
}

func (a *lookahead) full() bool {
	n := len(a.waiting)
	return n > 0 && (n >= a.limit || a.weight > maxAheadWeight || a.age > maxAge || a.waiting[n-1].reconfigures())
}

// begin examines the next commit and starts to judge it.
func (a *lookahead) begin(ctx context.Context, p *prepared) error {
	for a.full() {
		redo := len(a.again)
		if err := a.settle(ctx); err != nil {
			return err
		}
		if len(a.again) > redo {
			// The merges before it come first.
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
	// The pusher chooses commit dates, so the time is never before the previous commit's and never ahead of the clock;
	// for a new verdict it isn't before the ledger's last record either.
	w.head.Instant = min(max(a.head.Instant, c.CommittedAt.Unix()), a.judge.now().Unix())
	if err := a.examine(ctx, w); err != nil {
		return fmt.Errorf("commit %s: %w", short(c.Hash), err)
	}
	a.head = w.head
	a.age++
	a.waiting = append(a.waiting, w)
	return nil
}

// examine examines the commit on top of those before it, and starts to judge it.
func (a *lookahead) examine(ctx context.Context, w *waiting) (err error) {
	c := w.commit
	if len(c.Changes) == 0 && len(c.Unaccounted) == 0 && c.Odd == nil {
		close(w.verdict)
		return nil
	}
	in := proposal{changes: c.Changes, decoded: w.decoded, sequence: w.head.Sequence, worlds: a.worlds}
	if a.known {
		if w.record, in.known, err = a.ledger.Admission(ctx, c.Hash); err != nil {
			return err
		}
	}
	if !in.known {
		w.head.Instant = min(max(w.head.Instant, a.floor), a.judge.now().Unix())
	}
	now := time.Unix(w.head.Instant, 0).UTC()
	in.now = now
	if w.examination, err = a.judge.examine(ctx, a.layer, a.trust, in); err != nil {
		return err
	}
	if c.Odd != nil {
		w.examination.Errors = append(w.examination.Errors, schemas.Finding{Code: "unreadable", Severity: schemas.SeverityError,
			Message: "the commit can't be read strictly, so nobody can be sure what it contains: " + c.Odd.Error(), Fix: "make the same change again, with Git itself"})
	}
	if w.strays, err = a.judge.strays(ctx, w.examination, c); err != nil {
		return err
	}
	w.weight = len(w.examination.files) + w.examination.folded
	a.weight += w.weight
	switch {
	case len(w.examination.files) == 0 && c.Odd == nil:
		close(w.verdict)
	case w.record != nil || len(w.examination.Errors) > 0:
		if w.record == nil {
			w.record = w.examination.refuse(c)
		}
		w.admits = w.admitted()
		close(w.verdict)
	default:
		w.record = w.examination.record(c)
		// Whatever reads the merges before this one is read here: they change while this one is judged.
		if w.examination.holders, err = a.judge.holders(ctx, w.examination, nil, now); err != nil {
			return err
		}
		a.slots <- struct{}{}
		a.judging.Go(func() {
			w.err = a.judge.verdict(ctx, w.examination, w.prepared, w.record, now)
			w.examination.Changes, w.examination.desired = nil, nil // large, and not needed again
			<-a.slots
			close(w.verdict)
		})
	}
	w.write(a.layer, w.admits)
	if w.takesEffect(w.admits) {
		a.worlds = w.examination.worlds
	}
	return nil
}

// admitted reports whether the merge was admitted.
func (w *waiting) admitted() bool {
	return w.record.Verdict != VerdictQuarantined && len(w.examination.Errors) == 0
}

// takesEffect reports whether the merge changes what documents want, if it is admitted.
func (w *waiting) takesEffect(admitted bool) bool { return len(w.examination.files) > 0 && admitted }

// write adds the result of the merge to a layer.
func (w *waiting) write(to *index.Layer, admitted bool) {
	for _, f := range w.strays {
		to.SetFile(f)
	}
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
	// Quarantined: it is on the branch without effect.
	for _, f := range w.examination.files {
		q := &index.File{Path: f.path, Class: string(f.class)}
		if f.was != nil {
			*q = *f.was
		}
		q.Raw, q.Quarantine, q.Reasons = f.after, w.commit.Hash, w.record.Reasons
		to.SetFile(q)
	}
}

// wait leaves a merge without a verdict. The index is saved up to the merge before it, so that the next run judges it.
func (a *lookahead) wait(ctx context.Context, w *waiting, err *UnjudgedError) error {
	if !a.index.Held() {
		if err := a.index.Save(ctx); err != nil {
			return err
		}
		a.index.Hold()
	}
	if a.judge.unjudged == nil {
		a.judge.unjudged = err
	}
	a.judge.config.Logger.Error("could not evaluate policy; the change waits", "commit", w.commit.Hash, "error", err.Err)
	w.record.Reasons = []string{err.Error()}
	return nil
}

// settle waits for the verdict on the oldest merge and writes it to the index.
func (a *lookahead) settle(ctx context.Context) error {
	w := a.waiting[0]
	<-w.verdict
	var unjudged *UnjudgedError
	switch {
	case errors.As(w.err, &unjudged):
		if err := a.wait(ctx, w, unjudged); err != nil {
			return err
		}
	case w.err != nil:
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
	if len(w.examination.files) > 0 || w.commit.Odd != nil {
		admitted = w.admitted()
		if w.err == nil {
			a.index.Verdicts = append(a.index.Verdicts, *w.record)
		}
	}
	w.write(a.index.Layer, admitted)
	if w.takesEffect(admitted) {
		a.settled = w.examination.worlds
	}
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
		// The next commit is judged by the configuration that this one leaves.
		a.judging.Wait()
		var err error
		if a.trust, err = a.judge.readTrust(ctx, a.index.Layer); err != nil {
			return fmt.Errorf("commit %s: %w", short(w.commit.Hash), err)
		}
	}
	if n := len(a.index.Verdicts); n >= saveEvery || n > 0 && a.judge.config.Now().Sub(a.saved) >= saveAfter {
		a.saved = a.judge.config.Now()
		return a.index.Save(ctx)
	}
	return nil
}
