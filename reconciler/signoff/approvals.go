package signoff

import (
	"context"
	"fmt"
	"strings"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/schemas"
)

const approvedBy = "Approved-by"

// trailers returns the approvals that the landing commit's message claims, whether they count or not. A line that is not
// a trailer is listed too, so that nobody believes that it counts.
func (l *Local) trailers(commit *history.Commit) []schemas.Approval {
	var out []schemas.Approval
	found := map[string]int{}
	for _, t := range lastParagraphs(commit.Message) {
		if !strings.EqualFold(t.Key, approvedBy) {
			continue
		}
		found[strings.TrimSpace(t.Value)]++
		a := schemas.Approval{Person: address(history.PersonOf(t.Value)), Commit: commit.Hash, Method: "trailer"}
		switch {
		case a.Person == "":
			a.Person, a.Why = strings.TrimSpace(t.Value), "it needs an e-mail address that identifies a person: write Approved-by: Name <address>"
		case !l.c.Unauthenticated:
			a.Why = "a trailer counts only with signoff: unauthenticated; here the approver signs the merge, or a tag on the commit that it merges"
		}
		out = append(out, a)
	}
	for _, line := range strings.Split(commit.Message, "\n") {
		key, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || !strings.EqualFold(strings.TrimSpace(key), approvedBy) {
			continue
		}
		if found[value] > 0 {
			found[value]--
			continue
		}
		a := schemas.Approval{Person: address(history.PersonOf(value)), Commit: commit.Hash, Method: "trailer",
			Why: "the line Approved-by is not at the end of the message: put all of them in the last paragraphs, with nothing else in them"}
		if a.Person == "" {
			a.Person = value
		}
		out = append(out, a)
	}
	return out
}

// lastParagraphs returns the trailers of the last paragraphs, as far as each is nothing but trailers. Git puts each of
// several -m options in a paragraph of its own.
func lastParagraphs(message string) []history.Trailer {
	var out []history.Trailer
	message = strings.ReplaceAll(message, "\r\n", "\n")
	for {
		found := history.Trailers(message)
		if len(found) == 0 {
			return out
		}
		out = append(found, out...)
		lines := strings.Split(strings.TrimRight(message, " \t\n"), "\n")
		for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) != "" {
			lines = lines[:len(lines)-1]
		}
		message = strings.Join(lines, "\n")
	}
}

// baseTrailer names, in a tag's message, the commit that the tagged change was reviewed on top of.
const baseTrailer = "Base"

// tags adds the approvals by signed tags: one per approver, on the reviewed commit. That is the head of what a merge
// merged, or the commit itself where it has one parent.
func (l *Local) tags(ctx context.Context, c Change, e *schemas.Evidence) error {
	if l.c.Unauthenticated || c.Tags == nil {
		return nil
	}
	reviewed := c.Commit.Hash
	if len(c.Commit.Parents) > 1 {
		reviewed = c.Commit.Parents[1]
	}
	tags, err := c.Tags(ctx, reviewed)
	if err != nil {
		return err
	}
	for _, t := range tags {
		if t.Signature == "" {
			continue // not meant as a sign-off
		}
		s, err := verifyObject(l.signers, "tag", t.Signature, t.Payload, c.Landed())
		a := l.approval(&c, t.Tagger, "tagger", s, err, e.Authors)
		a.Commit, a.Method = reviewed, "tag"
		if a.Why == "" {
			if a.Why, err = l.base(ctx, &c, t); err != nil {
				return err
			}
		}
		e.Approvals = append(e.Approvals, a)
	}
	return nil
}

// base explains why a tag is not about the change that landed, or returns "".
func (l *Local) base(ctx context.Context, c *Change, t *history.Tag) (string, error) {
	var bases []string
	for _, line := range strings.Split(t.Message, "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(key), baseTrailer) {
			bases = append(bases, strings.TrimSpace(value))
		}
	}
	if len(bases) != 1 || len(bases[0]) != 40 {
		return fmt.Sprintf("the tag %s does not name the commit that it was reviewed on top of: add the line Base: with the full hash of that commit of the branch", t.Name), nil
	}
	if c.Same == nil {
		return "", nil
	}
	same, why, err := c.Same(ctx, bases[0], t.Target)
	switch {
	case err != nil:
		return "", err
	case !same:
		return fmt.Sprintf("the tag %s is not about what was merged: %s", t.Name, why), nil
	}
	return "", nil
}
