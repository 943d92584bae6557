package server

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler/forge"
)

// counted is a forge that counts whose reviews are asked for.
type counted struct {
	forge.Forge
	asked map[int]int
}

func (c *counted) Reviews(_ context.Context, number int) (string, error) {
	c.asked[number]++
	return "", nil
}

// TestForksWaitTheirTurn has many pull requests of strangers' forks beside those of the repository's branches.
func TestForksWaitTheirTurn(t *testing.T) {
	t.Parallel()
	var open []forge.PullRequest
	for i := range 100 {
		author := "mallory"
		if i == 0 {
			author = "dave" // one of the oldest, by somebody else
		}
		open = append(open, forge.PullRequest{Number: i + 1, Author: author, Head: fmt.Sprint(i), Fork: true})
	}
	for i := range 3 {
		open = append(open, forge.PullRequest{Number: 200 + i, Author: "alice", Head: "x"})
	}
	asks := &counted{asked: map[int]int{}}
	s := &Server{previewed: map[int]string{}, waiting: map[int]time.Time{},
		config: Config{Previews: &Preview{Forge: asks}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}}
	due := s.due(t.Context(), open, "tip")
	own, forks, others := 0, 0, 0
	for i, d := range due {
		switch {
		case !d.pull.Fork:
			own++
			if i >= 3 {
				t.Errorf("#%d of a branch of the repository comes after forks", d.pull.Number)
			}
		case d.pull.Author == "dave":
			others++
			fallthrough
		default:
			forks++
		}
	}
	if own != 3 || forks != maxForkPreviews || others != 1 {
		t.Errorf("%d of branches, %d of forks, of which %d of another author", own, forks, others)
	}
	if n := len(asks.asked); n > 3+2*maxForkReviews {
		t.Errorf("the reviews of %d pull requests are asked for in one look", n)
	}
}
