package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v60/github"
)

// errNoNode means that GraphQL doesn't find what a query is about.
var errNoNode = errors.New("not found")

// query asks GitHub's GraphQL API, which tells of edits and deletions that REST doesn't. Queries only: they are retried.
// https://docs.github.com/en/graphql
func (c *Client) query(ctx context.Context, what, query string, variables map[string]any, into any) error {
	path := "graphql"
	if strings.HasSuffix(c.api.BaseURL.Path, "/v3/") {
		path = "../graphql" // GitHub Enterprise Server
	}
	req, err := c.api.NewRequest(http.MethodPost, path, map[string]any{"query": query, "variables": variables})
	if err != nil {
		return c.explain(what, err)
	}
	answer := struct {
		Data   any `json:"data"`
		Errors []struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"errors"`
	}{Data: into}
	if _, err := c.api.Do(ctx, req, &answer); err != nil {
		return c.explain(what, err)
	}
	if len(answer.Errors) == 0 {
		return nil
	}
	if answer.Errors[0].Type == "NOT_FOUND" {
		return fmt.Errorf("%s: %w", what, errNoNode)
	}
	return fmt.Errorf("%s: GitHub answered: %s", what, answer.Errors[0].Message)
}

// isQuery reports whether a request is a GraphQL query, which a POST is as well.
func isQuery(req *http.Request) bool {
	return req != nil && req.URL != nil && strings.HasSuffix(req.URL.Path, "/graphql")
}

// actor is an account as GraphQL names it.
type actor struct {
	Kind  string `json:"__typename"`
	Login string `json:"login"`
}

// login is the account as REST names it, where bots have a suffix; "" for an account that is gone.
func (a *actor) login() string {
	switch {
	case a == nil:
		return ""
	case a.Kind == "Bot" && !strings.HasSuffix(a.Login, "[bot]"):
		return a.Login + "[bot]"
	}
	return a.Login
}

// page is where a list of GraphQL goes on.
type page struct {
	More bool   `json:"hasNextPage"`
	End  string `json:"endCursor"`
}

// userEdits are the versions of a text.
type userEdits struct {
	Nodes []struct {
		Editor *actor       `json:"editor"`
		At     gh.Timestamp `json:"editedAt"`
	} `json:"nodes"`
	Page page `json:"pageInfo"`
}

const editFields = `userContentEdits(first: 100) { nodes { editor { __typename login } editedAt } pageInfo { hasNextPage endCursor } }`
