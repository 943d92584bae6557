package github

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
)

// head is part of every query for teams: the credential's account, and whether it sees everything.
const head = `viewer { login } `

const organisationHead = `login viewerCanAdminister viewerIsAMember `

// The parts of a team that are lists. %s is a further argument.
const (
	membersPart = `members(first: 100, membership: IMMEDIATE%s) { totalCount pageInfo { hasNextPage endCursor }
    edges { role node { login databaseId } } } `
	repositoriesPart = `repositories(first: 100%s) { totalCount pageInfo { hasNextPage endCursor }
    edges { permission node { name databaseId } } } `
	invitationsPart = `invitations(first: 50%s) { totalCount pageInfo { hasNextPage endCursor } nodes { invitee { login databaseId } } } `
)

func teamPart() string {
	return `databaseId slug description privacy notificationSetting parentTeam { slug databaseId } ` +
		fmt.Sprintf(membersPart, "") + fmt.Sprintf(repositoriesPart, "") + fmt.Sprintf(invitationsPart, "")
}

// pageInfo and totalCount are pointers if their absence must not be taken for the end.
type pageInfo struct {
	HasNextPage *bool
	EndCursor   *string
}

// connection is a list of GraphQL. Edges or nodes that are null are hidden from us.
type connection[E any] struct {
	TotalCount *int
	PageInfo   *pageInfo
	Edges      []*E
	Nodes      []*E
}

type account struct {
	Login      string
	DatabaseID *int64
}

type memberEdge struct {
	Role string
	Node *account
}

type repository struct {
	Name       string
	DatabaseID *int64
}

type repositoryEdge struct {
	Permission string
	Node       *repository
}

type invitation struct{ Invitee *account }

type teamNode struct {
	DatabaseID          *int64
	Slug                string
	Description         *string
	Privacy             string
	NotificationSetting string
	ParentTeam          *struct {
		Slug       string
		DatabaseID *int64
	}
	Members      *connection[memberEdge]
	Repositories *connection[repositoryEdge]
	Invitations  *connection[invitation]
}

// organisationNode has the common fields of answers about an organisation.
type organisationNode struct {
	Login               string
	ViewerCanAdminister *bool
	ViewerIsAMember     *bool
}

// rows returns the entries of a page, and the cursor of the next; "" at the end.
func rows[E any](op string, c *connection[E]) (list []*E, after string, err error) {
	if c == nil || c.TotalCount == nil || c.PageInfo == nil || c.PageInfo.HasNextPage == nil {
		return nil, "", strange(op)
	}
	list = append(c.Edges, c.Nodes...)
	if slices.Contains(list, nil) {
		return nil, "", &connectors.Error{Code: connectors.Denied, Op: op,
			Message: "GitHub hides an entry from the credential that countersign uses"}
	}
	if !*c.PageInfo.HasNextPage {
		return list, "", nil
	}
	if c.PageInfo.EndCursor == nil || *c.PageInfo.EndCursor == "" {
		return nil, "", strange(op)
	}
	return list, *c.PageInfo.EndCursor, nil
}

// collect reads all pages of a list of the organisation. ask gets the page after a cursor.
func collect[E any](op string, ask func(after any) (*connection[E], error)) ([]*E, error) {
	var out []*E
	var after any
	seen := map[string]bool{}
	for range maxPages {
		page, err := ask(after)
		if err != nil {
			return nil, err
		}
		list, next, err := rows(op, page)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
		if next == "" {
			if len(out) != *page.TotalCount {
				return nil, &connectors.Error{Code: connectors.Unavailable, Op: op,
					Message: fmt.Sprintf("GitHub counts %d entries and sent %d: somebody is changing the list, or the credential doesn't see all", *page.TotalCount, len(out))}
			}
			return out, nil
		}
		if seen[next] {
			return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "GitHub's pages form a cycle"}
		}
		seen[next], after = true, next
	}
	return nil, tooMany(op)
}

// perQuery is the number of teams that one query asks for by name, or continues.
const perQuery = 20

// part is a request for one team: all of it, or the next page of its lists.
type part struct {
	slug                               string
	whole                              bool
	members, repositories, invitations string // cursors; "" skips the list
}

// ask gets parts of teams, by slug. For an unknown team it returns nil.
func (c *client) ask(ctx context.Context, op string, parts []part) (map[string]*teamNode, error) {
	out := make(map[string]*teamNode, len(parts))
	for batch := range slices.Chunk(parts, perQuery) {
		text, variables := batchQuery(c.organisation, batch)
		var data struct{ Organization map[string]*teamNode }
		if err := c.query(ctx, op, text, variables, nil, &data); err != nil {
			return nil, err
		}
		for i, p := range batch {
			node, ok := data.Organization[fmt.Sprintf("t%d", i)]
			if !ok {
				return nil, strange(op)
			}
			if node != nil && !strings.EqualFold(node.Slug, p.slug) {
				return nil, strange(op)
			}
			out[p.slug] = node
		}
	}
	return out, nil
}

// batchQuery asks for parts of teams. Names and cursors go in variables.
func batchQuery(organisation string, batch []part) (string, map[string]any) {
	var declare, fields strings.Builder
	variables := map[string]any{"org": organisation}
	for i, p := range batch {
		arg := func(kind, value string) string {
			name := fmt.Sprintf("%s%d", kind, i)
			fmt.Fprintf(&declare, ", $%s: String!", name)
			variables[name] = value
			return "$" + name
		}
		fmt.Fprintf(&fields, "t%d: team(slug: %s) { slug ", i, arg("s", p.slug))
		if p.whole {
			fields.WriteString("...whole ")
		}
		for _, more := range []struct{ kind, text, after string }{
			{"m", membersPart, p.members}, {"r", repositoriesPart, p.repositories}, {"i", invitationsPart, p.invitations},
		} {
			if more.after != "" {
				fmt.Fprintf(&fields, more.text, ", after: "+arg(more.kind, more.after))
			}
		}
		fields.WriteString("}\n")
	}
	text := "query($org: String!" + declare.String() + ") { organization(login: $org) {\n" + fields.String() + "} }"
	if slices.ContainsFunc(batch, func(p part) bool { return p.whole }) {
		text += "\nfragment whole on Team { " + teamPart() + "}"
	}
	return text, variables
}
