package github

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	gh "github.com/google/go-github/v60/github"
)

// marker is hidden in the comment, so that later runs find it.
type marker struct {
	number       int
	head, digest string
}

func (m marker) String() string {
	return fmt.Sprintf("<!-- countersign:v1 pr=%d head=%s content=%s -->", m.number, m.head, m.digest)
}

var markers = regexp.MustCompile(`^<!-- countersign:v1 pr=([0-9]+) head=([0-9a-f]*) content=([0-9a-f]*) -->`)

func parseMarker(body string) (marker, bool) {
	m := markers.FindStringSubmatch(body)
	if m == nil {
		return marker{}, false
	}
	n, err := strconv.Atoi(m[1])
	return marker{n, m[2], m[3]}, err == nil
}

// sticky are our comments at a pull request, the newest first: those that begin with the marker and are the
// publisher's own, since anybody may write one that looks alike.
func (c *Client) sticky(ctx context.Context, number int, publisher string) ([]*gh.IssueComment, error) {
	what := fmt.Sprintf("read the comments of pull request #%d", number)
	comments, err := all(what, func(o *gh.ListOptions) ([]*gh.IssueComment, *gh.Response, error) {
		return c.api.Issues.ListComments(ctx, c.owner, c.name, number, &gh.IssueListCommentsOptions{ListOptions: *o})
	})
	if err != nil {
		return nil, c.explain(what, err)
	}
	var out []*gh.IssueComment
	for _, k := range comments {
		if m, ok := parseMarker(k.GetBody()); ok && m.number == number && strings.EqualFold(k.GetUser().GetLogin(), publisher) {
			out = append(out, k)
		}
	}
	slices.Reverse(out)
	return out, nil
}

// comment writes the one comment: edits the newest of ours, or makes it. Older ones, left by two first runs at once,
// are cut down to a line.
func (c *Client) comment(ctx context.Context, number int, ours []*gh.IssueComment, m marker, body string) (int64, error) {
	text := m.String() + "\n" + body
	if len(text) > maxBody {
		return 0, fmt.Errorf("the comment has %d bytes, more than GitHub takes", len(text))
	}
	if len(ours) == 0 {
		k, _, err := c.api.Issues.CreateComment(ctx, c.owner, c.name, number, &gh.IssueComment{Body: &text})
		return k.GetID(), c.explain(fmt.Sprintf("comment on pull request #%d", number), err)
	}
	id := ours[0].GetID()
	if ours[0].GetBody() != text {
		if err := c.edit(ctx, id, text); err != nil {
			return 0, err
		}
	}
	for _, old := range ours[1:] {
		was := marker{number: number}.String() + "\nThe preview is in a later comment."
		if old.GetBody() == was {
			continue
		}
		if err := c.edit(ctx, old.GetID(), was); err != nil {
			return 0, err
		}
	}
	return id, nil
}

func (c *Client) edit(ctx context.Context, id int64, text string) error {
	_, _, err := c.api.Issues.EditComment(ctx, c.owner, c.name, id, &gh.IssueComment{Body: &text})
	return c.explain("edit the comment", err)
}

// staleNote goes above a preview whose head is no longer the pull request's.
const staleNote = "> ⏳ New commits were pushed. This preview is of `%s`, not of the current head; a new one is on its way.\n\n"

// Stale marks the comment at once as being about an older head. Without a comment, or for the comment's own head, it
// does nothing.
func (c *Client) Stale(ctx context.Context, number int, head, publisher string) error {
	ours, err := c.sticky(ctx, number, publisher)
	if err != nil || len(ours) == 0 {
		return err
	}
	m, _ := parseMarker(ours[0].GetBody())
	if m.head == head || m.head == "" {
		return nil
	}
	_, body, _ := strings.Cut(ours[0].GetBody(), "\n")
	note := fmt.Sprintf(staleNote, short(m.head))
	if strings.HasPrefix(body, note) || len(m.String())+1+len(note)+len(body) > maxBody {
		return nil
	}
	return c.edit(ctx, ours[0].GetID(), m.String()+"\n"+note+body)
}
