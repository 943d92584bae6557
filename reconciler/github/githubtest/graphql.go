package githubtest

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

// graph is the part of GitHub's GraphQL schema that is served.
// https://docs.github.com/en/graphql/overview/public-schema
var graph = gqlparser.MustLoadSchema(&ast.Source{Name: "github.graphql", Input: `
scalar DateTime
scalar BigInt
type Query { repository(owner: String!, name: String!, followRenames: Boolean = true): Repository }
type Repository { pullRequest(number: Int!): PullRequest issue(number: Int!): Issue }
type PageInfo { hasNextPage: Boolean! endCursor: String }
interface Actor { login: String! }
type User implements Actor { login: String! databaseId: Int }
type Bot implements Actor { login: String! databaseId: Int }
type PullRequest {
  comments(first: Int, after: String): IssueCommentConnection!
  timelineItems(first: Int, after: String, itemTypes: [PullRequestTimelineItemsItemType!]): PullRequestTimelineItemsConnection!
}
type Issue {
  body: String!
  userContentEdits(first: Int, after: String): UserContentEditConnection
  timelineItems(first: Int, last: Int, after: String, itemTypes: [IssueTimelineItemsItemType!]): IssueTimelineItemsConnection!
}
type IssueCommentConnection { nodes: [IssueComment] pageInfo: PageInfo! totalCount: Int! }
type IssueComment { author: Actor body: String! createdAt: DateTime! fullDatabaseId: BigInt userContentEdits(first: Int, after: String): UserContentEditConnection }
type UserContentEditConnection { nodes: [UserContentEdit] pageInfo: PageInfo! totalCount: Int! }
type UserContentEdit { createdAt: DateTime! editedAt: DateTime! editor: Actor deletedAt: DateTime deletedBy: Actor diff: String }
enum PullRequestTimelineItemsItemType { COMMENT_DELETED_EVENT HEAD_REF_FORCE_PUSHED_EVENT }
enum IssueTimelineItemsItemType { CLOSED_EVENT }
union PullRequestTimelineItems = CommentDeletedEvent
union IssueTimelineItems = ClosedEvent
type PullRequestTimelineItemsConnection { nodes: [PullRequestTimelineItems] pageInfo: PageInfo! totalCount: Int! }
type IssueTimelineItemsConnection { nodes: [IssueTimelineItems] pageInfo: PageInfo! totalCount: Int! }
type CommentDeletedEvent { actor: Actor createdAt: DateTime! deletedCommentAuthor: Actor }
type ClosedEvent { actor: Actor createdAt: DateTime! }
`})

// edit is one change of a comment's or an issue's text.
type edit struct{ login, at string }

// serveGraphQL answers a query. GitHub answers 200 whether or not there are errors.
func (s *Server) serveGraphQL(req *http.Request, body []byte) (int, any) {
	c := &call{Server: s, header: http.Header{}}
	var in struct {
		Query     string         `json:"query"`
		Variables map[string]any `json:"variables"`
	}
	if json.Unmarshal(body, &in) != nil {
		return fail(http.StatusBadRequest, "Problems parsing JSON")
	}
	if c.actor = s.tokens[bearer(req)]; c.actor == nil {
		return fail(http.StatusUnauthorized, "Bad credentials")
	}
	doc, errs := gqlparser.LoadQueryWithRules(graph, in.Query, nil) // nil are the default rules
	if len(errs) > 0 {
		s.t.Errorf("a query that GitHub's schema does not have, or the test server does not serve: %v\n%s", errs, in.Query)
		return http.StatusOK, object{"errors": []any{object{"message": errs.Error()}}}
	}
	root := func(args map[string]any) any {
		r := s.repos[text(args["owner"])+"/"+text(args["name"])]
		if r == nil || r.level(c.actor) == "none" {
			return nil
		}
		return c.graphRepository(r)
	}
	data := c.project(doc.Operations[0].SelectionSet, object{"repository": root}, in.Variables)
	if data["repository"] == nil {
		return http.StatusOK, object{"data": data, "errors": []any{object{"type": "NOT_FOUND", "message": "Could not resolve to a Repository"}}}
	}
	return http.StatusOK, object{"data": data}
}

func text(v any) string { s, _ := v.(string); return s }

// field is a value that depends on arguments.
type field = func(map[string]any) any

// project picks what a query asks for.
func (c *call) project(set ast.SelectionSet, v object, vars map[string]any) object {
	if v == nil {
		return nil
	}
	out := object{}
	for _, s := range set {
		switch s := s.(type) {
		case *ast.InlineFragment:
			if s.TypeCondition == v["__typename"] || s.TypeCondition == "Actor" {
				for k, x := range c.project(s.SelectionSet, v, vars) {
					out[k] = x
				}
			}
		case *ast.Field:
			x := v[s.Name]
			if f, ok := x.(field); ok {
				x = f(s.ArgumentMap(vars))
			}
			switch x := x.(type) {
			case object:
				if x == nil {
					out[s.Alias] = nil
					continue
				}
				out[s.Alias] = c.project(s.SelectionSet, x, vars)
			case []object:
				list := []any{}
				for _, one := range x {
					list = append(list, c.project(s.SelectionSet, one, vars))
				}
				out[s.Alias] = list
			default:
				out[s.Alias] = x
			}
		}
	}
	return out
}

// connection is a list of which a query gets the first 100 at most. GitHub refuses more.
func connection(all []object) field {
	return func(args map[string]any) any {
		first, ok := number(args["first"])
		if last, is := number(args["last"]); is && !ok {
			all, first, ok = all[max(len(all)-last, 0):], last, true
		}
		from, _ := strconv.Atoi(text(args["after"]))
		if !ok || first > 100 {
			return nil // EXCESSIVE_PAGINATION
		}
		some := all[min(from, len(all)):]
		more := len(some) > first
		some = some[:min(first, len(some))]
		return object{"nodes": some, "totalCount": len(all), "pageInfo": object{"hasNextPage": more, "endCursor": strconv.Itoa(from + len(some))}}
	}
}

func number(v any) (int, bool) {
	switch v := v.(type) {
	case int64:
		return int(v), true
	case float64:
		return int(v), true
	}
	return 0, false
}

// actorOf is an account as GraphQL names it: a bot without the suffix.
func (c *call) actorOf(login string) object {
	a := c.accounts[login]
	if a == nil || login == "ghost" {
		return nil
	}
	kind := "User"
	if a.kind == "Bot" {
		kind = "Bot"
		login = login[:max(len(login)-len("[bot]"), 0)]
	}
	return object{"__typename": kind, "login": login, "databaseId": a.id}
}

func (c *call) graphRepository(r *Repository) object {
	return object{
		"pullRequest": func(args map[string]any) any {
			n, _ := number(args["number"])
			i := r.issues[n]
			if i == nil || r.pulls[n] == nil {
				return nil
			}
			var comments []object
			for _, k := range i.comments {
				comments = append(comments, object{"author": c.actorOf(k.login), "body": k.body, "createdAt": k.created, "fullDatabaseId": strconv.FormatInt(k.id, 10),
					"userContentEdits": connection(c.editsOf(k.login, k.created, k.edits))})
			}
			return object{"comments": connection(comments), "timelineItems": connection(c.deletions(i))}
		},
		"issue": func(args map[string]any) any {
			n, _ := number(args["number"])
			i := r.issues[n]
			if i == nil || r.pulls[n] != nil {
				return nil
			}
			var closed []object
			for _, e := range i.events {
				if e.name == "closed" {
					closed = append(closed, object{"__typename": "ClosedEvent", "actor": c.actorOf(e.login), "createdAt": e.at})
				}
			}
			return object{"body": i.body, "userContentEdits": connection(c.editsOf(i.login, i.created, i.texts)), "timelineItems": connection(closed)}
		},
	}
}

// editsOf is the history of a text, the newest first: nothing for one that was never edited, and the first version
// with the others otherwise.
func (c *call) editsOf(author, created string, edits []edit) []object {
	if len(edits) == 0 {
		return nil
	}
	var out []object
	for i := len(edits) - 1; i >= 0; i-- {
		out = append(out, object{"editor": c.actorOf(edits[i].login), "editedAt": edits[i].at, "createdAt": edits[i].at})
	}
	return append(out, object{"editor": c.actorOf(author), "editedAt": created, "createdAt": created})
}

func (c *call) deletions(i *issue) []object {
	var out []object
	for _, d := range i.deleted {
		out = append(out, object{"__typename": "CommentDeletedEvent", "actor": c.actorOf(d.login), "createdAt": d.at, "deletedCommentAuthor": c.actorOf(d.author)})
	}
	return out
}

// deletion is a comment that somebody deleted.
type deletion struct{ login, at, author string }
