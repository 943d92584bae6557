package reconciler_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/schemas"
)

// Validation needs neither commit nor application, and finds each fault at its line.
func TestValidate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change files
		want   []string // path:line code of each finding
		// messages are the findings' messages with their fixes; nil for any
		messages []string
		made     func(w *world)
	}{
		{name: "a whole repository"},
		{name: "a link as a request", want: []string{"requests/link.yaml:0 refused"}, made: func(w *world) { w.Link("requests/link.yaml", "base.yaml") }},
		{name: "an executable request", want: []string{"requests/run.yaml:0 refused"}, made: func(w *world) { w.WriteExecutable("requests/run.yaml", creation("authz", "x")) }},
		{name: "no settings", change: files{"countersign.yaml": ""}, want: []string{"countersign.yaml:0 refused"}},
		{name: "an unknown application", change: files{"requests/a.yaml": creation("nowhere", "x")}, want: []string{"requests/a.yaml:5 invalid"}},
		{name: "a type that there is not", change: files{"requests/a.yaml": document("ConnectionCreation", "application: authz\nconnection: {type: table, source_name: x}\n")}, want: []string{"requests/a.yaml:6 invalid"}},
		{name: "what cannot be granted", change: files{"requests/a.yaml": assignment("authz", "x", grants("{type: schema, source_name: x}"))}, want: []string{"requests/a.yaml:7 invalid"}},
		{name: "a payload that the connector does not know", change: files{"requests/a.yaml": document("ConnectionCreation", "application: authz\nconnection: {type: role, source_name: x}\npayload: {colour: red}\n")}, want: []string{"requests/a.yaml:7 invalid"}},
		{name: "a config that the connector does not know", change: files{"applications/hr.yaml": "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: hr}\n" +
			"spec:\n  connector: casbin\n  config: {policy: x.csv, dsn: x}\n  owners: [user:bob@acme.test]\n  scope: {role: [x]}\n"}, want: []string{"applications/hr.yaml:6 invalid"}},
		{name: "types that the connector does not have", change: files{"applications/hr.yaml": "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: hr}\n" +
			"spec:\n  connector: casbin\n  config: {policy: x.csv}\n  owners: [user:bob@acme.test]\n  scope: {role: [x], schema: [x]}\n" +
			"  grantable: {users: [dave]}\n  privileged:\n    object: [x]\n    roles: [admin]\n"},
			want:     []string{"applications/hr.yaml:8 invalid", "applications/hr.yaml:9 invalid", "applications/hr.yaml:12 invalid"},
			messages: []string{`spec.scope: unknown type "schema" (expected one of group, role)`, `spec.grantable: unknown type "users"; did you mean user?`, `spec.privileged: unknown type "roles"; did you mean role?`}},
		{name: "names that the connector does not have", change: files{"requests/a.yaml": assignment("authz", "x", grants("{type: objects, source_name: sales.orders, privileges: [read]}", "{type: object, source_name: sales.orders, privileges: [read, writ]}"))},
			want:     []string{"requests/a.yaml:7 invalid", "requests/a.yaml:7 invalid"},
			messages: []string{`spec.grants[0].type: unknown type "objects"; did you mean object?`, `spec.grants[1].privileges[1]: unknown privilege "writ"; did you mean write?`}},
		{name: "policy that does not compile", change: files{"policy/own.rego": "package countersign\n\ndeny contains x if {\n"}, want: []string{"policy:0 refused"}},
		{name: "a document in the wrong folder", change: files{"requests/people.yaml": people}, want: []string{"requests/people.yaml:1 invalid"}},
		{name: "two faults in two files", change: files{"requests/a.yaml": creation("nowhere", "x"), "requests/b.yaml": creation("nowhere", "y")}, want: []string{"requests/a.yaml:5 invalid", "requests/b.yaml:5 invalid"}},
		{name: "requests of an application whose file cannot be read", change: files{"applications/hr.yaml": "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: hr}\n" +
			"spec:\n  connector: casbin\n  config: {policy: x.csv, token: hunter2}\n  owners: [user:bob@acme.test]\n  scope: {role: [x]}\n", "requests/a.yaml": creation("hr", "x")}, want: []string{"applications/hr.yaml:6 invalid"}},
		{name: "requests of an application whose connector is not there", change: files{"applications/hr.yaml": "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: hr}\n" +
			"spec:\n  connector: casbinn\n  config: {policy: x.csv}\n  owners: [user:bob@acme.test]\n  scope: {role: [x]}\n", "requests/a.yaml": creation("hr", "x"), "requests/b.yaml": creation("nowhere", "x")},
			want: []string{"applications/hr.yaml:5 invalid", "requests/b.yaml:5 invalid"}},
		{name: "two applications of one configuration with overlapping scopes", change: files{
			"applications/hr.yaml": "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: hr}\nspec:\n  connector: casbin\n  config: {policy: x.csv}\n  owners: [user:bob@acme.test]\n  scope: {role: [hr_*]}\n",
			"applications/it.yaml": "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: it}\nspec:\n  connector: casbin\n  config: {policy: x.csv}\n  owners: [user:bob@acme.test]\n  scope: {role: [it_*, \"*_admin\"]}\n",
			"applications/qa.yaml": "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: qa}\nspec:\n  connector: casbin\n  config: {policy: y.csv}\n  owners: [user:bob@acme.test]\n  scope: {role: [it_*]}\n"},
			want:     []string{"applications/it.yaml:8 invalid"},
			messages: []string{"spec.scope: overlaps the scope of application hr, which has the same configuration (role *_admin and hr_*); narrow one of them, or make them one application"}},
		{name: "other files are nobody's business", change: files{"README.md": "# Access", "docs/a.yaml": "kind: [", "requests/notes.txt": "x"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, files{"requests/base.yaml": creation("authz", "sales_reader")})
			w.change(tc.change)
			if tc.made != nil {
				tc.made(w)
			}
			registry, err := connectors.NewRegistry(casbin.New())
			if err != nil {
				t.Fatal(err)
			}
			rep, err := reconciler.Validate(t.Context(), w.Dir, registry)
			if err != nil {
				t.Fatal(err)
			}
			got, messages := []string{}, []string{}
			for _, f := range rep.Errors {
				got = append(got, fmt.Sprintf("%s:%d %s", f.Position.Path, f.Position.Line, f.Code))
				messages = append(messages, strings.TrimSuffix(f.Message+"; "+f.Fix, "; "))
			}
			if tc.messages != nil && !slices.Equal(messages, tc.messages) {
				t.Errorf("messages %q, want %q", messages, tc.messages)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("findings %v, want %v: %v", got, tc.want, rep.Errors)
			}
		})
	}
}

// TestProvisioningNeedsSomebody refuses, with the place, what nobody could carry out.
func TestProvisioningNeedsSomebody(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	ticket := func(kind string) string {
		return strings.Replace(assignment("authz", "sales_reader", grants(user("dave"))), "  application: authz\n", "  application: authz\n  provisioning: "+kind+"\n", 1)
	}
	for name, c := range map[string]struct {
		f    files
		want string
	}{
		"a ticket without issues":             {files{"requests/t.yaml": ticket("ticket")}, "spec.provisioning: ticket cannot be carried out: tickets are issues at GitHub, and the forge is local"},
		"a webhook that is not there":         {files{"requests/t.yaml": ticket("webhook")}, "spec.provisioning: webhook cannot be carried out: the application authz doesn't have a fulfilment.webhook"},
		"an application of tickets":           {files{"applications/authz.yaml": w.application("authz", "provisioning: ticket\n")}, "spec.provisioning: ticket cannot be carried out"},
		"an application of webhooks":          {files{"applications/authz.yaml": w.application("authz", "provisioning: webhook\n")}, "spec.provisioning: webhook cannot be carried out"},
		"a webhook with a secret in the file": {files{"applications/authz.yaml": w.application("authz", "provisioning: webhook\nfulfilment: {webhook: {url: \"https://it.acme.test/\", secret: whsec_aHVudGVyMg}}\n")}, "spec.fulfilment.webhook.secret: a literal where a reference to a secret belongs"},
	} {
		w.propose(strings.ReplaceAll(name, " ", "-"), c.f)
		p := w.preview("HEAD")
		if p.Verdict != schemas.VerdictInvalid || len(p.Errors) != 1 || !strings.HasPrefix(p.Errors[0].Message, c.want) || p.Errors[0].Position.Line == 0 || p.Errors[0].Fix == "" {
			t.Errorf("%s: the preview is %s, %+v", name, p.Verdict, p.Errors)
		}
		registry, err := connectors.NewRegistry(casbin.New())
		if err != nil {
			t.Fatal(err)
		}
		rep, err := reconciler.Validate(t.Context(), w.Dir, registry)
		if err != nil || !slices.ContainsFunc(rep.Errors, func(f schemas.Finding) bool { return strings.HasPrefix(f.Message, c.want) && f.Position.Line > 0 }) {
			t.Errorf("%s: validate says %+v, %v", name, rep, err)
		}
	}
}
