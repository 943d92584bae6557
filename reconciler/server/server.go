package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/schemas"
)

// Config configures a Server.
type Config struct {
	Reconciler *reconciler.Reconciler
	// Pass is the pass to make; its Options are chosen by what is due.
	Pass Pass
	// Previews is how open pull requests are previewed: when their head, their reviews or the branch changed; nil leaves
	// that to others. Its Number and Head are set here.
	Previews *Preview
	// Branch is the revision that passes are about. Required.
	Branch string
	// Tip returns the branch's commit in the clone. Required.
	Tip func() (string, error)
	// Serial means that the ledger is kept by a branch too, so that a callback waits until a pass has ended.
	Serial bool
	// Listener takes webhooks and answers about health; nil opens no port. The server closes it.
	Listener net.Listener
	// Webhooks reads the deliveries of the forge, which signs them with Secret; they are refused without one.
	Webhooks forge.Webhooks
	Secret   []byte
	// Poll is how often the branch is checked without a hint; 0 is one minute.
	Poll time.Duration
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// After waits until the next start or expiry; nil is time.After.
	After func(time.Duration) <-chan time.Time
	// Logger takes diagnostics; nil discards them.
	Logger *slog.Logger
	// Passed is called after each pass, for tests; nil is not called.
	Passed func(*schemas.RunReport, error)
}

// Server repeats passes: when the branch moved, on each application's schedule, and at the next start or expiry.
type Server struct {
	config Config
	hints  chan hint
	seen   deliveries
	// deliveries has one entry for each webhook that is being read.
	deliveries chan struct{}
	health     health
	// next fires at the next start or expiry; nil never does.
	next <-chan time.Time
	// due is that moment. A look at the branch notices it too: a machine that slept, or a clock that was set, fires late.
	wake time.Time
	// last is the tip that the last pass over everything was about; "" when that failed, so that the
	// next check makes a pass again.
	last string
	// failures in a row delay the next try: the tip that failed is tried again at retry.
	failures int
	failed   string
	retry    time.Time
	// tips has the branch's tip after a look, for the previewer.
	tips chan string
	// previewed is the state at which each open pull request was previewed, waiting is since when one waits for that, and
	// turn is the pull request of a fork whose reviews are asked for next. The previewer alone uses them.
	previewed map[int]string
	waiting   map[int]time.Time
	turn      int
	// publisher is the account that the settings named last.
	publisher string

	// work is held during a pass and a preview, which use the same Reconciler.
	work sync.Mutex

	mu        sync.Mutex
	schedules map[string]entry // by application
	// webhooks are those of the admitted applications, by application; nil before the first pass.
	webhooks map[string]*schemas.WebhookFulfilment
}

// hint is what may be due. The zero hint is to look whether the branch moved.
type hint struct {
	// due means that something is to be done though the branch did not move: a grant starts or expires.
	due bool
	// drift is the application whose schedule came; "" for none.
	drift string
	mode  schemas.DriftMode
}

type entry struct {
	id       cron.EntryID
	schedule string
	mode     schemas.DriftMode
}

// maxRetry is the longest wait before a failed pass is retried.
const maxRetry = 30 * time.Minute

// maxHints is how many hints wait. One more of a kind that waits already adds nothing, and polling makes up for
// one that is dropped.
const maxHints = 64

// New checks the configuration. It opens nothing.
func New(c Config) (*Server, error) {
	switch {
	case c.Reconciler == nil:
		return nil, errors.New("server: no reconciler")
	case c.Branch == "" || c.Tip == nil:
		return nil, errors.New("server: no branch")
	case c.Listener != nil && len(c.Secret) > 0 && len(c.Secret) < minSecret:
		return nil, fmt.Errorf("the webhook secret has %d characters: take at least %d, made at random", len(c.Secret), minSecret)
	case c.Listener != nil && len(c.Secret) > 0 && c.Webhooks == nil:
		return nil, errors.New("server: a webhook secret without the forge that signs with it")
	}
	if c.Poll == 0 {
		c.Poll = time.Minute
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.After == nil {
		c.After = time.After
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Passed == nil {
		c.Passed = func(*schemas.RunReport, error) {}
	}
	c.Pass.Reconciler = c.Reconciler
	return &Server{config: c, hints: make(chan hint, maxHints), tips: make(chan string, 1), deliveries: make(chan struct{}, maxAtOnce), previewed: map[int]string{}, waiting: map[int]time.Time{}, schedules: map[string]entry{}}, nil
}

// Run makes passes until the context ends. It then stops a pass that is under way: the pass finishes its current
// operation and records it, and the next start continues.
func (s *Server) Run(ctx context.Context) error {
	clock := cron.New(cron.WithLocation(time.UTC), cron.WithLogger(cron.DiscardLogger))
	clock.Start()
	defer func() { <-clock.Stop().Done() }()
	failed := make(chan error, 1)
	if s.config.Listener != nil {
		web := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 64 << 10}
		go func() { failed <- web.Serve(s.config.Listener) }()
		defer func() {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := web.Shutdown(end); err != nil {
				s.config.Logger.Warn("close the port", "error", err)
			}
		}()
	}
	var watching sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	defer watching.Wait()
	defer stop()
	if s.config.Previews != nil {
		watching.Go(func() { s.watch(ctx) })
	}
	poll := time.NewTicker(s.config.Poll)
	defer poll.Stop()
	s.hint(hint{})
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return fmt.Errorf("listen for webhooks: %w", err)
		case h := <-s.hints:
			s.pass(ctx, clock, h)
		case <-poll.C:
			s.pass(ctx, clock, hint{})
		case <-s.next:
			s.config.Logger.Info("a grant starts or expires now, or what others were asked for is looked at again")
			s.pass(ctx, clock, hint{due: true})
		}
	}
}

// hint queues a hint. It never waits.
func (s *Server) hint(h hint) {
	select {
	case s.hints <- h:
	default:
	}
}

func (s *Server) pass(ctx context.Context, clock *cron.Cron, h hint) {
	s.drain(h)
	s.work.Lock()
	defer s.work.Unlock()
	if h == (hint{}) && !s.wake.IsZero() && s.config.Now().After(s.wake) {
		h.due, s.wake = true, time.Time{}
	}
	tip, err := s.fetch(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		s.health.looked(err, s.config.Now())
		s.config.Logger.Error("the branch could not be fetched; the next look tries again", "error", err)
		if h == (hint{}) {
			s.config.Passed(nil, err)
			return
		}
		// Expiries and starts need nothing new from the branch.
		if tip, err = s.config.Tip(); err != nil {
			s.config.Logger.Error("the clone could not be read; what is due is tried again", "error", err)
			s.last = ""
			s.next = s.config.After(s.config.Poll)
			s.config.Passed(nil, err)
			return
		}
	} else {
		defer s.moved(tip)
		if h == (hint{}) && tip == s.last {
			s.health.looked(nil, s.config.Now())
			return
		}
		if h == (hint{}) && tip == s.failed && s.config.Now().Before(s.retry) {
			return
		}
	}
	p := s.config.Pass
	p.Fetch = nil
	p.Options = reconciler.RunOptions{To: s.config.Branch}
	if h.drift != "" {
		p.Options.Application = h.drift
		// An application that enforces is corrected by an ordinary pass, which knows its mode.
		p.Options.Drift = h.mode != schemas.DriftEnforce
	}
	rep, err := p.Run(ctx)
	if ctx.Err() != nil {
		return
	}
	s.health.looked(err, s.config.Now())
	s.health.passed(err, quarantined(rep))
	if err != nil {
		s.config.Logger.Error("the pass failed; the next one tries again", "error", err)
	}
	s.alarms(ctx, rep, err)
	if h.drift == "" {
		if err != nil || unfinished(rep) {
			wait := min(s.config.Poll<<min(s.failures, 10), maxRetry)
			s.last, s.failed, s.retry, s.failures = "", tip, s.config.Now().Add(wait), s.failures+1
		} else {
			s.last, s.failed, s.failures = tip, "", 0
		}
		if rep != nil {
			s.sleepUntil(earlier(rep.Next, rep.Again))
		}
	}
	if err := s.reschedule(ctx, clock); err != nil {
		s.config.Logger.Error("the schedules could not be read", "error", err)
	}
	s.config.Passed(rep, err)
}

func (s *Server) fetch(ctx context.Context) (string, error) {
	if s.config.Pass.Fetch != nil {
		if err := s.config.Pass.Fetch(ctx); err != nil {
			return "", err
		}
	}
	return s.config.Tip()
}

// unfinished reports whether a pass left something that a retry may fix.
func unfinished(rep *schemas.RunReport) bool {
	for _, a := range rep.Applications {
		if a.Error != "" || a.Plan.Incomplete != "" {
			return true
		}
		last, verified := map[string]schemas.OutcomeStatus{}, map[string]bool{}
		for _, o := range a.Outcomes {
			last[o.Operation] = o.Status
		}
		for _, v := range a.Verifications {
			switch v.Status {
			case schemas.VerificationDiffers, schemas.VerificationUnverifiable:
				return true // a difference right after our own operations is ours
			case schemas.VerificationVerified:
				verified[v.Operation] = true
			}
		}
		for id, s := range last {
			// Somebody outside is working on pending operations: they answer, or are checked when due.
			if s != schemas.OutcomeApplied && s != schemas.OutcomePending && !verified[id] {
				return true
			}
		}
	}
	return false
}

func earlier(a, b *time.Time) *time.Time {
	if a == nil || b != nil && b.Before(*a) {
		return b
	}
	return a
}

// drain takes the hints that this pass answers too.
func (s *Server) drain(h hint) {
	for range len(s.hints) {
		select {
		case other := <-s.hints:
			if other != h {
				s.hint(other)
			}
		default:
			return
		}
	}
}

// sleepUntil sets the timer for the next start or expiry. A moment that has just passed comes at once.
func (s *Server) sleepUntil(at *time.Time) {
	s.next, s.wake = nil, time.Time{}
	if at != nil {
		s.wake = *at
		s.next = s.config.After(max(at.Sub(s.config.Now()), 0) + time.Millisecond)
	}
}

// reschedule sets the clock to the applications' schedules.
func (s *Server) reschedule(ctx context.Context, clock *cron.Cron) error {
	c, err := s.config.Reconciler.Configuration(ctx, s.config.Branch)
	if err != nil {
		return err
	}
	s.publisher = c.Settings.Forge.Publisher
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhooks = map[string]*schemas.WebhookFulfilment{}
	want := map[string]bool{}
	for _, a := range c.Applications {
		if w := a.Spec.Webhook(); w != nil {
			s.webhooks[a.Name] = w
		}
		d := a.Spec.Drift
		if d.Schedule == "" {
			continue
		}
		want[a.Name] = true
		was, ok := s.schedules[a.Name]
		if ok && was.schedule == d.Schedule && was.mode == d.Mode {
			continue
		}
		if ok {
			clock.Remove(was.id)
		}
		h := hint{drift: a.Name, mode: d.Mode}
		id, err := clock.AddFunc(d.Schedule, func() { s.hint(h) })
		if err != nil {
			return fmt.Errorf("application %s: the schedule %q: %w", a.Name, d.Schedule, err)
		}
		s.schedules[a.Name] = entry{id, d.Schedule, d.Mode}
	}
	for name, e := range s.schedules {
		if !want[name] {
			clock.Remove(e.id)
			delete(s.schedules, name)
		}
	}
	return nil
}
