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

// evidence of a preview is in the description of its status. Older versions published no digest of the comment.
var described = regexp.MustCompile(`^pull request #([0-9]+), content ([0-9a-f]{64})(?:, shown ([0-9a-f]{32}))?$`)

// lacking is the description of a status that takes the evidence back: the preview's comment was replaced by one that
// doesn't show everything.
var lacking = regexp.MustCompile(`^pull request #([0-9]+), the preview doesn't show everything$`)

func describeLacking(number int) string {
	return fmt.Sprintf("pull request #%d, the preview doesn't show everything", number)
}

func describeStatus(number int, digest, body string) string {
	return fmt.Sprintf("pull request #%d, content %s, shown %s", number, digest, bodyDigest(body))
}

// published is one preview of a pull request: the digest of what it was of, that of the comment, and when. digest is ""
// where it took the evidence of earlier ones back.
type published struct {
	digest, shown string
	at            time.Time
}

func lastIs(list []published, digest string) bool {
	return len(list) > 0 && list[len(list)-1].digest == digest
}

// previewed are the previews of the pull request that were published on a commit by whom the settings name, oldest
// first. The error is errTooMany for a commit with more statuses than are read: everybody who may write can add some.
func (v *view) previewed(ctx context.Context, commit string) ([]published, error) {
	if list, ok := v.previews[commit]; ok {
		return list, nil
	}
	c := v.ev.client
	what := "read the statuses of " + short(commit)
	statuses, err := all(what, func(o *gh.ListOptions) ([]*gh.RepoStatus, *gh.Response, error) {
		return c.api.Repositories.ListStatuses(ctx, c.owner, c.name, commit, o)
	})
	if isStatus(err, http.StatusNotFound, http.StatusUnprocessableEntity) {
		statuses, err = nil, nil // a commit that is gone: nothing was previewed
	}
	if err != nil {
		return nil, c.explain(what, err)
	}
	list := previews(statuses, v.pull.GetNumber(), v.ev.settings.Publisher)
	v.previews[commit] = list
	return list, nil
}

func previews(statuses []*gh.RepoStatus, number int, publisher string) []published {
	var out []published
	for _, s := range statuses {
		if s.GetContext() != previewContext || !strings.EqualFold(s.GetCreator().GetLogin(), publisher) || s.CreatedAt == nil {
			continue
		}
		form, digest, shown := described, "", ""
		if s.GetState() != "success" {
			form = lacking
		}
		m := form.FindStringSubmatch(s.GetDescription())
		if m == nil || m[1] != strconv.Itoa(number) {
			continue
		}
		if s.GetState() == "success" {
			digest, shown = m[2], m[3]
		}
		out = append(out, published{digest, shown, s.GetCreatedAt().Time})
	}
	slices.SortStableFunc(out, func(a, b published) int { return a.at.Compare(b.at) })
	return out
}
