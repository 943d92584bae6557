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
			"spec:\n  connector: casbin\n  config: {policy: x.csv}\n  owners: [user:bob@acme.test, user:carol@acme.test]\n  scope: {role: [x], schema: [x]}\n" +
			"  grantable: {users: [dave]}\n  privileged:\n    object: [x]\n    roles: [admin]\n"},
			want:     []string{"applications/hr.yaml:8 invalid", "applications/hr.yaml:9 invalid", "applications/hr.yaml:12 invalid"},
			messages: []string{`spec.scope: unknown type "schema" (expected one of group, role)`, `spec.grantable: unknown type "users"; did you mean user?`, `spec.privileged: unknown type "roles"; did you mean role?`}},
		{name: "names that the connector does not have", change: files{"requests/a.yaml": assignment("authz", "x", grants("{type: objects, source_name: sales.orders, privileges: [read]}", "{type: object, source_name: sales.orders, privileges: [read, writ]}"))},
			want:     []string{"requests/a.yaml:7 invalid", "requests/a.yaml:7 invalid"},
			messages: []string{`spec.grants[0].type: unknown type "objects"; did you mean object?`, `spec.grants[1].privileges[1]: unknown privilege "writ"; did you mean write?`}},
		{name: "policy that does not compile", change: files{"policy/own.rego": "package countersign\n\ndeny contains x if {\n"}, want: []string{"policy/own.rego:4 invalid"}},
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
		{name: "files that look like control files and are not read", change: files{"policy/own.rego.txt": "x", "policy/freeze.yaml": "freeze: []\n", "policy/README.md": "# Rules", "policy/.keep": "",
			"requests/sales.yaml.txt": "x", "requests/b.YAML": "x", "applications/c.yaml~": "x", "countersign.yml": "x"},
			want: []string{"applications/c.yaml~:0 refused", "countersign.yml:0 refused", "policy/freeze.yaml:0 refused", "policy/own.rego.txt:0 refused", "requests/b.YAML:0 refused", "requests/sales.yaml.txt:0 refused"}},
		{name: "rules that decide nothing", change: files{"policy/own.rego": "package countersign\n\ndefault allow := false\n\nallow if input.plan == []\n\ndeny contains {\"code\": \"A-1\", \"msg\": \"no\"} if helper\n\nhelper if input.plan == []\n"},
			want: []string{"policy/own.rego:3 invalid"}},
		{name: "results that are none", change: files{"policy/own.rego": "package countersign\n\ndeny contains \"no\"\n\nwarn contains {\"msg\": \"no\"} if input.plan == []\n\n" +
			"require_signoff contains {\"code\": \"A-1\", \"from\": [\"bob\"], \"count\": 0, \"why\": \"x\"}\n"},
			want: []string{"policy/own.rego:3 invalid", "policy/own.rego:5 invalid", "policy/own.rego:7 invalid", "policy/own.rego:7 invalid"}},
		{name: "a result that is computed and none", change: files{"policy/own.rego": "package countersign\n\ndeny contains r if {\n\tsome op in input.plan\n\tr := concat(\"\", [op.application, \"!\"])\n}\n"},
			want: []string{"policy/own.rego:3 invalid"}},
		{name: "a result with a value that can be undefined", change: files{"policy/own.rego": "package countersign\n\ndeny contains {\"code\": \"A-1\", \"msg\": sprintf(\"%s\", [op.target.source_name])} if {\n\tsome op in input.plan\n\top.connection.source_name == \"root\"\n}\n"},
			want:     []string{"policy/own.rego:3 invalid"},
			messages: []string{"op.target can be undefined (PolicyOperation.target), and then the result of deny could not be made; require op.target in the rule's body, or use object.get with a default"}},
		{name: "values that are required or have a default", change: files{"policy/own.rego": "package countersign\n\nimport data.countersign.lib\n\ndeny contains {\"code\": \"A-1\", \"msg\": op.target.source_name} if {\n\tsome op in input.plan\n\top.kind == \"grant\"\n}\n\n" +
			"deny contains lib.result(\"A-2\", \"no\", op) if some op in input.plan\n\n" +
			"deny contains {\"code\": \"A-3\", \"msg\": c.request.application} if {\n\tsome c in input.change\n\tc.request\n}\n\n" +
			"deny contains {\"code\": \"A-4\", \"msg\": object.get(c, [\"request\", \"application\"], \"none\")} if some c in input.change\n"}},
		{name: "people whom rules ask for and who do not exist", change: files{"policy/own.rego": "package countersign\n\nrequire_signoff contains {\"code\": \"A-1\", \"from\": [\"team:acme/ghost\"], \"count\": 1, \"why\": \"x\"} if input.plan != []\n\n" +
			"require_signoff contains {\"code\": \"A-2\", \"from\": {\"user:nobody@acme.test\", \"user:bob@acme.test\"}, \"count\": 1, \"why\": \"x\"} if input.plan != []\n"},
			want: []string{"policy/own.rego:3 invalid", "policy/own.rego:5 invalid"}},
		{name: "duties that name nothing", change: files{"policy/data.yaml": "separation_of_duties:\n  - name: pay and approve\n    connections: [authz/role/payer, auhtz/role/approver]\n    at_most: 1\n  - {name: two, connections: [authz/roles/a, authz/role/b]}\nfreeze:\n  - {from: x, to: 2026-12-20T18:00:00Z, reason: y}\n"},
			want: []string{"policy/data.yaml:3 invalid", "policy/data.yaml:5 invalid", "policy/data.yaml:7 invalid"}},
		{name: "duties of other applications", change: files{"policy/data.yaml": "separation_of_duties:\n  - name: pay and approve\n    connections: [authz/role/payer, auhtz/role/approver]\n  - {name: two, connections: [authz/roles/a, authz/role/b]}\n"},
			want: []string{"policy/data.yaml:3 invalid", "policy/data.yaml:4 invalid"},
			messages: []string{`data.separation_of_duties[0].connections[1]: unknown application "auhtz", so the set would never apply; write application/type/source_name`,
				`data.separation_of_duties[1].connections[0]: unknown type "roles" of application authz, so the set would never apply; the types are group, role`}},
		{name: "a privileged application with one owner", change: files{"applications/hr.yaml": "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: hr}\n" +
			"spec:\n  connector: casbin\n  config: {policy: x.csv}\n  owners: [user:bob@acme.test, user:bob]\n  scope: {role: [x]}\n  grantable: {object: [\"*\"]}\n  privileged: {role: [x]}\n"},
			want:     []string{"applications/hr.yaml:7 invalid"},
			messages: []string{"spec.owners: a privileged change needs the sign-off of two owners, and this lists only one person; add a second owner to application hr, or a team of several people"}},
		{name: "a privileged request in an application with one owner", change: files{"applications/hr.yaml": "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: hr}\n" +
			"spec:\n  connector: casbin\n  config: {policy: x.csv}\n  owners: [user:bob@acme.test]\n  scope: {role: [x]}\n  grantable: {object: [\"*\"]}\n",
			"requests/a.yaml": assignment("hr", "x", grants(read("sales.orders"), "{type: object, source_name: o, privileges: [admin]}"))},
			want: []string{"requests/a.yaml:7 invalid"}},
		{name: "settings that nobody can change", change: files{"countersign.yaml": strings.Replace(settings(""), "carol@acme.test", "nobody@acme.test", 1)},
			want: []string{"countersign.yaml:6 invalid"}},
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
