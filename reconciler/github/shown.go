package github

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"
)

// tampering is a change of the published comment by somebody else.
type tampering struct {
	by, how string
	at      time.Time
}

func (t tampering) String() string {
	by := t.by
	if by == "" {
		by = "an account that is gone"
	}
	return fmt.Sprintf("%s %s the preview's comment at %s", by, t.how, t.at.UTC().Format(time.RFC3339))
}

// maxComments is more than the 2,500 comments that GitHub lets a pull request have, in pages of 100.
const maxCommentPages = 30

const commentsQuery = `query($owner: String!, $name: String!, $number: Int!, $after: String) {
  repository(owner: $owner, name: $name) { pullRequest(number: $number) {
    comments(first: 100, after: $after) {
      nodes { author { __typename login } ` + editFields + ` }
      pageInfo { hasNextPage endCursor }
    }
  } }
}`

const deletionsQuery = `query($owner: String!, $name: String!, $number: Int!, $after: String) {
  repository(owner: $owner, name: $name) { pullRequest(number: $number) {
    timelineItems(first: 100, after: $after, itemTypes: [COMMENT_DELETED_EVENT]) {
      nodes { ... on CommentDeletedEvent { createdAt actor { __typename login } deletedCommentAuthor { __typename login } } }
      pageInfo { hasNextPage endCursor }
    }
  } }
}`

// tampered returns the edits and deletions of the publisher's comments at a pull request by anybody else. unknown is why
// they can't be told; "" where they can.
func (c *Client) tampered(ctx context.Context, number int, publisher string) (found []tampering, unknown string, err error) {
	what := fmt.Sprintf("read the edits of the comments of pull request #%d", number)
	vars := map[string]any{"owner": c.owner, "name": c.name, "number": number}
	for n := 0; ; n++ {
		var answer struct {
			Repository struct {
				PullRequest struct {
					Comments struct {
						Nodes []struct {
							Author *actor    `json:"author"`
							Edits  userEdits `json:"userContentEdits"`
						} `json:"nodes"`
						Page page `json:"pageInfo"`
					} `json:"comments"`
				} `json:"pullRequest"`
			} `json:"repository"`
		}
		if err := c.query(ctx, what, commentsQuery, vars, &answer); err != nil {
			return nil, "", err
		}
		list := answer.Repository.PullRequest.Comments
		for _, k := range list.Nodes {
			if !strings.EqualFold(k.Author.login(), publisher) {
				continue
			}
			if k.Edits.Page.More {
				return nil, "the preview's comment has been edited more than 100 times, so who edited it is not looked up; open another pull request", nil
			}
			for _, e := range k.Edits.Nodes {
				if by := e.Editor.login(); !strings.EqualFold(by, publisher) {
					found = append(found, tampering{by, "edited", e.At.Time})
				}
			}
		}
		if !list.Page.More {
			break
		}
		if n >= maxCommentPages {
			return nil, "the pull request has more comments than are read", nil
		}
		vars["after"] = list.Page.End
	}
	return c.deleted(ctx, what, number, publisher, found)
}

// deleted adds the deletions.
func (c *Client) deleted(ctx context.Context, what string, number int, publisher string, found []tampering) ([]tampering, string, error) {
	vars := map[string]any{"owner": c.owner, "name": c.name, "number": number}
	for n := 0; ; n++ {
		var answer struct {
			Repository struct {
				PullRequest struct {
					Items struct {
						Nodes []struct {
							At     gh.Timestamp `json:"createdAt"`
							Actor  *actor       `json:"actor"`
							Author *actor       `json:"deletedCommentAuthor"`
						} `json:"nodes"`
						Page page `json:"pageInfo"`
					} `json:"timelineItems"`
				} `json:"pullRequest"`
			} `json:"repository"`
		}
		if err := c.query(ctx, what, deletionsQuery, vars, &answer); err != nil {
			return nil, "", err
		}
		list := answer.Repository.PullRequest.Items
		for _, d := range list.Nodes {
			if by := d.Actor.login(); strings.EqualFold(d.Author.login(), publisher) && !strings.EqualFold(by, publisher) {
				found = append(found, tampering{by, "deleted", d.At.Time})
			}
		}
		if !list.Page.More {
			return found, "", nil
		}
		if n >= maxCommentPages {
			return nil, "more comments of the pull request were deleted than are read", nil
		}
		vars["after"] = list.Page.End
	}
}

// bodyDigest is the digest of a published comment: 128 bits of SHA-256, which fit a status's description.
func bodyDigest(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:16])
}

// edited reports whether somebody else changed the publisher's comments after an instant.
func (c *Client) edited(ctx context.Context, number int, publisher string, since time.Time) (bool, error) {
	found, unknown, err := c.tampered(ctx, number, publisher)
	if errors.Is(err, errNoNode) {
		return false, nil
	}
	if err != nil || unknown != "" {
		return false, err
	}
	for _, t := range found {
		if !t.at.Before(since) {
			return true, nil
		}
	}
	return false, nil
}
