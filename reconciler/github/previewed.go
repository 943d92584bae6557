package github

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"
)

// previewContext is the commit status whose creation proves what was previewed, and when.
const previewContext = "countersign/preview"

// evidence of a preview is in the description of its status.
var described = regexp.MustCompile(`^pull request #([0-9]+), content ([0-9a-f]{64})$`)

// lacking is the description of a status that takes the evidence back: the preview's comment was replaced by one that
// doesn't show everything.
var lacking = regexp.MustCompile(`^pull request #([0-9]+), the preview doesn't show everything$`)

func describeLacking(number int) string {
	return fmt.Sprintf("pull request #%d, the preview doesn't show everything", number)
}

func describeStatus(number int, digest string) string {
	return fmt.Sprintf("pull request #%d, content %s", number, digest)
}

// previewedAt is when the digest was published last for the pull request on a commit; zero for never, and where the
// last one there has another digest.
func (ev *Evidence) previewedAt(ctx context.Context, commit string, number int, digest string) (time.Time, error) {
	list, err := ev.previewed(ctx, commit, number)
	if err != nil || len(list) == 0 || list[len(list)-1].digest != digest {
		return time.Time{}, err
	}
	return list[len(list)-1].at, nil
}

// published is one preview of a pull request; its digest is "" where it took the evidence of earlier ones back.
type published struct {
	digest string
	at     time.Time
}

func lastIs(list []published, digest string) bool {
	return len(list) > 0 && list[len(list)-1].digest == digest
}

// previewed are the previews of a pull request that were published on a commit by whom the settings name, oldest
// first.
func (ev *Evidence) previewed(ctx context.Context, commit string, number int) ([]published, error) {
	ev.mu.Lock()
	statuses, ok := ev.statuses[commit]
	ev.mu.Unlock()
	if !ok {
		what := "read the statuses of " + short(commit)
		var err error
		statuses, err = all(what, func(o *gh.ListOptions) ([]*gh.RepoStatus, *gh.Response, error) {
			return ev.client.api.Repositories.ListStatuses(ctx, ev.client.owner, ev.client.name, commit, o)
		})
		if isStatus(err, http.StatusNotFound, http.StatusUnprocessableEntity) {
			statuses, err = nil, nil // a commit that is gone: nothing was previewed
		}
		if err != nil {
			return nil, ev.client.explain(what, err)
		}
		ev.mu.Lock()
		ev.statuses[commit] = statuses
		ev.mu.Unlock()
	}
	return previews(statuses, number, ev.settings.Publisher), nil
}

func previews(statuses []*gh.RepoStatus, number int, publisher string) []published {
	var out []published
	for _, s := range statuses {
		if s.GetContext() != previewContext || !strings.EqualFold(s.GetCreator().GetLogin(), publisher) || s.CreatedAt == nil {
			continue
		}
		form, digest := described, ""
		if s.GetState() != "success" {
			form = lacking
		}
		m := form.FindStringSubmatch(s.GetDescription())
		if m == nil || m[1] != strconv.Itoa(number) {
			continue
		}
		if s.GetState() == "success" {
			digest = m[2]
		}
		out = append(out, published{digest, s.GetCreatedAt().Time})
	}
	slices.SortStableFunc(out, func(a, b published) int { return a.at.Compare(b.at) })
	return out
}
