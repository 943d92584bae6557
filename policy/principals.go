package policy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign/countersign/schemas"
)

// Mention is a team or user that rules name.
type Mention struct {
	Principal string
	Position  schemas.Position
}

// Mentions returns the teams and users that the repository's own rules write out, sorted by place.
func (e *Engine) Mentions() []Mention {
	var out []Mention
	own, _ := parseOwn(e.modules, true) // New has reported its faults
	for path, m := range own.modules {
		ast.WalkTerms(m, func(t *ast.Term) bool {
			if s, ok := t.Value.(ast.String); ok && isPrincipal(string(s)) && !strings.ContainsAny(string(s), " \t\n") {
				out = append(out, Mention{string(s), position(path, t.Location)})
			}
			return false
		})
	}
	slices.SortFunc(out, func(a, b Mention) int {
		if c := strings.Compare(a.Position.Path, b.Position.Path); c != 0 {
			return c
		}
		return a.Position.Line*1000 + a.Position.Column - b.Position.Line*1000 - b.Position.Column
	})
	return out
}

// Try evaluates the repository's own rules on samples of changes, and returns what is wrong with their answers. A time-out
// or a killed child is the error.
func (e *Engine) Try(ctx context.Context) (schemas.ErrorList, error) {
	if e.own == nil {
		return nil, nil
	}
	var faults schemas.ErrorList
	all := samples()
	known := map[schemas.Position]bool{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		_, err := e.Evaluate(ctx, all[name])
		switch {
		case err == nil:
		case errors.Is(err, ErrTimeout), errors.Is(err, ErrChild), errors.Is(err, ErrClosed), ctx.Err() != nil:
			return nil, err
		default:
			f := schemas.Error{Msg: fmt.Sprintf("on a sample (%s): %v", name, err), Hint: "countersign policy test runs rules on inputs of your own"}
			if f.Position = ruleIn(err.Error(), e.modules); !known[f.Position] {
				known[f.Position] = true
				faults = append(faults, f)
			}
		}
	}
	return faults.Sort(), nil
}

// ruleIn returns the place of a rule that an error names.
func ruleIn(message string, modules map[string][]byte) schemas.Position {
	for path := range modules {
		_, rest, ok := strings.Cut(message, path+":")
		if !ok {
			continue
		}
		line := 0
		for _, c := range rest {
			if c < '0' || c > '9' || line > 1<<20 {
				break
			}
			line = line*10 + int(c-'0')
		}
		return schemas.Position{Path: path, Line: line, Column: 1}
	}
	return schemas.Position{}
}

// samples returns changes of each kind, with as little in them as there can be.
func samples() map[string]schemas.PolicyInput {
	connection := schemas.Name{Type: "role", SourceName: "sample"}
	alice := schemas.Name{Type: "user", SourceName: "alice"}
	app := &schemas.PolicyApplication{Name: "sample", Connector: "sample", Owners: []string{"user:bob"}, Provisioning: schemas.ProvisioningDirect}
	input := func(kind schemas.Kind, action string, op schemas.PolicyOperation) schemas.PolicyInput {
		op.Application, op.Connection, op.Path, op.Line = app.Name, connection, "requests/sample.yaml", 2
		return schemas.PolicyInput{
			APIVersion: schemas.APIVersion, Phase: "preview", Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
			Change: []schemas.ChangedDocument{{Action: action, Path: op.Path, Line: 2, Kind: kind, Metadata: schemas.Metadata{Name: "sample", Reason: "a sample of a request"},
				Request: &schemas.Request{Kind: kind, Application: app.Name, Connection: schemas.ConnectionRef{Type: connection.Type, SourceName: connection.SourceName}}}},
			Plan: []schemas.PolicyOperation{op}, Applications: map[string]*schemas.PolicyApplication{app.Name: app},
			Settings: schemas.PolicySettings{Owners: []string{"user:carol"}}, PullRequest: schemas.PolicyPullRequest{Contributors: []string{"alice"}},
		}
	}
	member := schemas.PolicyOperation{Target: &alice, Privilege: schemas.PrivilegeMember}
	grant, revoke := member, member
	grant.Kind, revoke.Kind = schemas.OperationGrant, schemas.OperationRevoke
	grant.Gained = []schemas.Access{{Application: app.Name, Identity: alice, Target: connection, Privilege: schemas.PrivilegeMember}}
	privileged := grant
	privileged.Privileged = true
	return map[string]schemas.PolicyInput{
		"a creation":         input(schemas.KindConnectionCreation, "added", schemas.PolicyOperation{Kind: schemas.OperationCreate}),
		"a deletion":         input(schemas.KindConnectionDeletion, "added", schemas.PolicyOperation{Kind: schemas.OperationDelete}),
		"a grant":            input(schemas.KindConnectionAssignment, "added", grant),
		"a privileged grant": input(schemas.KindConnectionAssignment, "added", privileged),
		"a revoke":           input(schemas.KindConnectionAssignment, "added", revoke),
		"an undone request":  input(schemas.KindConnectionAssignment, "deleted", revoke),
	}
}
