package server

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/forge"
)

// Bounds of what one look at the open pull requests previews. The rest waits for the next look.
const (
	maxOwnPreviews  = 30
	maxForkPreviews = 5
	// maxForkReviews is how many pull requests of forks are asked about: anybody can open them.
	maxForkReviews = 20
)

// stale is an open pull request whose preview is out of date.
type stale struct {
	pull forge.PullRequest
	// at is the state to preview, since when it waits.
	at    string
	since time.Time
}

// watch previews open pull requests beside the passes, after each look at the branch, until the context ends.
func (s *Server) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case tip := <-s.tips:
			s.previews(ctx, tip)
		}
	}
}

// moved tells the previewer of the branch's tip. It never waits: only the last tip matters.
func (s *Server) moved(tip string) {
	if s.config.Previews == nil {
		return
	}
	for {
		select {
		case s.tips <- tip:
			return
		default:
		}
		select {
		case <-s.tips:
		default:
		}
	}
}

// previews looks at the open pull requests, and previews some of those that changed since. A pass waits for at most one
// of them.
func (s *Server) previews(ctx context.Context, tip string) {
	s.work.Lock()
	c, err := s.config.Reconciler.Configuration(ctx, s.config.Branch)
	s.work.Unlock()
	if err != nil {
		return // the pass has reported it
	}
	open, err := s.config.Previews.Forge.OpenPullRequests(ctx, c.Settings.Branch)
	if err != nil {
		s.config.Logger.Error("the open pull requests could not be read", "error", err)
		return
	}
	for _, one := range s.due(ctx, open, tip) {
		if ctx.Err() != nil {
			return
		}
		if err := s.preview(ctx, one.pull); err != nil {
			s.config.Logger.Error("a pull request could not be previewed; the next look tries again", "pull_request", one.pull.Number, "error", err)
			// Those that never failed come first.
			s.waiting[one.pull.Number] = s.config.Now()
			continue
		}
		s.previewed[one.pull.Number] = one.at
		delete(s.waiting, one.pull.Number)
	}
}

// preview previews one pull request while no pass is under way.
func (s *Server) preview(ctx context.Context, pull forge.PullRequest) error {
	s.work.Lock()
	defer s.work.Unlock()
	one := *s.config.Previews
	one.Reconciler, one.Number, one.Head = s.config.Reconciler, pull.Number, pull.Head
	_, _, err := one.Run(ctx)
	if forge.IsMoved(err) || errors.Is(err, ErrClosed) {
		return nil // the next look sees what it is now
	}
	if err == nil {
		s.config.Logger.Info("previewed", "pull_request", pull.Number, "head", pull.Head)
	}
	return err
}

// due returns the pull requests to preview now: those of the repository's branches first, then those of forks; in each the
// authors in turn, and of an author the one that waits longest.
func (s *Server) due(ctx context.Context, open []forge.PullRequest, tip string) []stale {
	var own, forks []stale
	seen, waiting := map[int]string{}, map[int]time.Time{}
	ask := s.unchangedForks(open, tip)
	for _, pull := range open {
		if was, ok := s.previewed[pull.Number]; ok {
			seen[pull.Number] = was
		}
		if since, ok := s.waiting[pull.Number]; ok {
			waiting[pull.Number] = since
		}
	}
	s.previewed, s.waiting = seen, waiting
	for _, pull := range open {
		if ctx.Err() != nil {
			return nil
		}
		if pull.Fork && !ask[pull.Number] {
			continue
		}
		reviews, err := s.config.Previews.Forge.Reviews(ctx, pull.Number)
		if err != nil {
			s.config.Logger.Error("a pull request's reviews could not be read", "pull_request", pull.Number, "error", err)
			continue
		}
		at := pull.Head + " " + tip + "\n" + reviews
		if seen[pull.Number] == at {
			continue
		}
		since, ok := waiting[pull.Number]
		if !ok {
			since = s.config.Now()
			waiting[pull.Number] = since
		}
		if pull.Fork {
			forks = append(forks, stale{pull, at, since})
		} else {
			own = append(own, stale{pull, at, since})
		}
	}
	return append(inTurn(own, maxOwnPreviews), inTurn(forks, maxForkPreviews)...)
}

// unchangedForks returns the pull requests of forks whose reviews are asked for in this look. They take turns.
func (s *Server) unchangedForks(open []forge.PullRequest, tip string) map[int]bool {
	out := map[int]bool{}
	var rest []int
	for _, pull := range open {
		switch {
		case !pull.Fork:
		case !strings.HasPrefix(s.previewed[pull.Number], pull.Head+" "+tip+"\n") && len(out) < maxForkReviews:
			out[pull.Number] = true // a new head, or a new base
		default:
			rest = append(rest, pull.Number)
		}
	}
	for i := range min(len(rest), maxForkReviews) {
		out[rest[(s.turn+i)%len(rest)]] = true
	}
	s.turn += maxForkReviews
	return out
}

// inTurn takes at most n, the authors in turn.
func inTurn(list []stale, n int) []stale {
	slices.SortStableFunc(list, func(a, b stale) int {
		if c := a.since.Compare(b.since); c != 0 {
			return c
		}
		return b.pull.Number - a.pull.Number // the newest of those that were found at once
	})
	round := map[string]int{}
	turns := make([]int, len(list))
	for i, one := range list {
		turns[i] = round[one.pull.Author]
		round[one.pull.Author]++
	}
	var out []stale
	for turn := 0; len(out) < min(n, len(list)); turn++ {
		for i := range list {
			if turns[i] == turn && len(out) < n {
				out = append(out, list[i])
			}
		}
	}
	return out
}
