package reconciler_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/reconciler/judge"
	"github.com/countersign/countersign/schemas"
)

func rule(body string) string { return "package countersign\n\n" + body + "\n" }

const harmless = `deny contains {"code": "A-1", "msg": "never"} if count(input.plan) > 100000`

// A policy process that dies is a fault of the run: the change waits, without a verdict, and nothing else does.
func TestPolicyFaultIsNoVerdict(t *testing.T) {
	t.Parallel()
	w := settled(t, files{"policy/own.rego": rule(harmless)})
	waits := w.land(files{"requests/more.yaml": creation("authz", "sales_writer")}, historytest.Bob())
	comment := w.land(files{"policy/own.rego": rule("# a comment\n" + harmless)}, historytest.Carol())
	w.isolate = func(ctx context.Context) (*exec.Cmd, error) { return exec.CommandContext(ctx, "false"), nil }
	for range 2 {
		r, err := w.try(reconciler.RunOptions{})
		var unjudged *judge.UnjudgedError
		if !errors.As(err, &unjudged) || unjudged.Commit != waits || !errors.Is(err, policy.ErrChild) || !strings.Contains(err.Error(), "policy/own.rego") {
			t.Fatalf("RunOnce = %v, want that %s waits because of policy/own.rego", err, waits)
		}
		for _, a := range r.Admissions {
			if a.Commit == waits {
				t.Errorf("there is a verdict: %+v", a)
			}
		}
		w.wantHolds("authz", quiet()...)
		if len(r.Admissions) == 1 {
			wantVerdict(t, r, comment, "admitted") // the repository's rules are not asked about it
		} else if len(r.Admissions) != 0 {
			t.Errorf("%d verdicts", len(r.Admissions))
		}
	}
	if _, err := w.open().Preview(t.Context(), reconciler.PreviewOptions{Base: "main", Head: "change-1"}); err != nil {
		t.Errorf("the preview of what changes nothing now: %v", err)
	}
	w.propose("next", files{"requests/next.yaml": creation("authz", "sales_next")})
	if p, err := w.open().Preview(t.Context(), reconciler.PreviewOptions{Base: "main", Head: "next"}); !errors.Is(err, policy.ErrChild) {
		t.Errorf("Preview = %+v, %v, want an error that passes", p, err)
	}
	w.Checkout("main")
	w.isolate = nil
	r := w.run()
	wantVerdict(t, r, waits, "admitted")
	w.wantHolds("authz", append(quiet(), "sales_writer")...)
	if r := w.run(); len(r.Admissions) != 0 {
		t.Errorf("judged again: %+v", r.Admissions)
	}
	// Whoever builds the index again finds the same.
	w.forget()
	if r := w.run(); len(r.Admissions) != 0 {
		t.Errorf("judged again without the index: %+v", r.Admissions)
	}
	w.wantHolds("authz", append(quiet(), "sales_writer")...)
}

// No rule of the repository keeps the owners of the settings from changing the rules.
func TestRulesCanBeTakenBack(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"denies everything":           `deny contains {"code": "A-1", "msg": "never"}`,
		"denies its own removal":      `deny contains {"code": "A-1", "msg": "keep out"} if some p in input.control_files`,
		"fails":                       `deny contains {"code": "A-1", "msg": "never"} if 1 / (count(input.plan) - count(input.plan)) == 1`,
		"asks people who author all":  `require_signoff contains {"code": "A-1", "from": ["user:alice@acme.test"], "count": 1, "why": "always"}`,
		"is malformed now and then":   `deny contains r if { some op in input.plan; op.connection.source_name == "sales_writer"; r := op.kind }`,
		"loses its message sometimes": `deny contains {"code": "A-1", "msg": x(op)} if { some op in input.plan; op.connection.source_name == "sales_writer" }` + "\n\n" + `x(op) := "x" if op.kind == "revoke"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			c := w.land(files{"policy/own.rego": rule(text)}, historytest.Carol())
			r := w.run()
			if name == "fails" {
				wantVerdict(t, r, c, "quarantined") // on a sample
				return
			}
			wantVerdict(t, r, c, "admitted")
			if name != "denies its own removal" {
				bad := w.land(files{"requests/more.yaml": creation("authz", "sales_writer")}, historytest.Bob())
				if v := wantVerdict(t, w.run(), bad, "quarantined"); strings.Contains(name, "sometimes") && !strings.Contains(strings.Join(v.Reasons, " "), "policy/own.rego:3: the rule applies, and a value of its result is undefined") {
					t.Errorf("the reasons don't name the rule: %v", v.Reasons)
				}
			}
			// Neither Alice, who asks, nor anybody but an owner of the settings takes it back.
			c = w.land(files{"policy/own.rego": ""}, historytest.Bob())
			wantVerdict(t, w.run(), c, "quarantined")
			w.Git("revert", "--no-edit", "-m", "1", c)
			w.run()
			c = w.land(files{"policy/own.rego": ""}, historytest.Carol())
			wantVerdict(t, w.run(), c, "admitted")
			c = w.land(files{"requests/again.yaml": creation("authz", "sales_again")}, historytest.Bob())
			wantVerdict(t, w.run(), c, "admitted")
		})
	}
}

// A rule about requests decides about a change that has anything else beside policy.
func TestRulesDecideAboutOtherControlFiles(t *testing.T) {
	t.Parallel()
	w := settled(t, files{"policy/own.rego": rule(`deny contains {"code": "A-1", "msg": "never"} if input.control_files != []`)})
	p := w.propose("both", files{"policy/own.rego": "", "people.yaml": people + "    - {login: zoe, emails: [zoe@acme.test]}\n"})
	if p := w.preview(p); p.Verdict != schemas.VerdictDenied {
		t.Errorf("a change of policy and people is %s, want denied", p.Verdict)
	}
	p = w.propose("policy", files{"policy/own.rego": ""})
	if p := w.preview(p); p.Verdict != schemas.VerdictSignoff {
		t.Errorf("a change of policy is %s %v, want sign-off", p.Verdict, p.Decision.Denials)
	}
}

// An edit that changes nothing that a file says takes one owner's sign-off, and moves nothing.
func TestReformatted(t *testing.T) {
	t.Parallel()
	request := creation("authz", "sales_writer") + "---\n" + assignment("authz", "sales_writer", grants(read("sales.orders"), "{type: user, source_name: dave, expires: \"2027-01-01T00:00:00Z\"}"))
	for _, tt := range []struct {
		name, path, content string
		who                 historytest.Person
		verdict             string
	}{
		{"line ends", "requests/r.yaml", strings.ReplaceAll(request, "\n", "\r\n"), historytest.Bob(), "admitted"},
		{"comments", "requests/r.yaml", "# why\n" + request, historytest.Bob(), "admitted"},
		{"quotes", "requests/r.yaml", strings.ReplaceAll(request, "source_name: sales_writer", "source_name: 'sales_writer'"), historytest.Bob(), "admitted"},
		{"a first document marker", "requests/r.yaml", "---\n" + request, historytest.Bob(), "admitted"},
		{"nobody who owns it", "requests/r.yaml", "# why\n" + request, historytest.Carol(), "quarantined"},
		{"another reason", "requests/r.yaml", strings.Replace(request, "reason: ", "reason: Really, ", 1), historytest.Bob(), "quarantined"},
		{"people", "people.yaml", "# who\n" + people, historytest.Carol(), "admitted"},
		{"people, by an owner of an application", "people.yaml", "# who\n" + people, historytest.Bob(), "quarantined"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			w.land(files{"requests/r.yaml": request}, frank()) // Bob gains nothing, and approves later
			w.run()
			before := w.holds("authz")
			if len(before) != 5 {
				t.Fatalf("holds %v", before)
			}
			w.propose("x", files{tt.path: tt.content})
			if p := w.preview("x"); p.Verdict != schemas.VerdictSignoff && tt.name != "another reason" {
				t.Errorf("the preview is %s: %v %v", p.Verdict, p.Errors, p.Decision)
			}
			c := w.merge("x", tt.who)
			r := w.run()
			wantVerdict(t, r, c, tt.verdict)
			if n := len(outcome(t, r, "authz").Plan.Operations); n > 0 {
				t.Errorf("%d operations", n)
			}
			if after := w.holds("authz"); strings.Join(after, "\n") != strings.Join(before, "\n") {
				t.Errorf("holds %v, and before %v", after, before)
			}
		})
	}
}

// Whoever wrote quarantined content doesn't sign it off, whoever asks for it, and in whatever form.
func TestWritersOfQuarantinedContent(t *testing.T) {
	t.Parallel()
	const path = "requests/pushed.yaml"
	dave := assignment("authz", "sales_reader", grants(user("dave")))
	for _, tt := range []struct {
		name string
		ask  func(w *world) files
		who  []historytest.Person
		want string
	}{
		{"an Admission, by its writer", func(w *world) files {
			return files{"requests/adm.yaml": document("Admission", "path: "+path+"\nblob: "+w.blob(path)+"\n")}
		}, []historytest.Person{historytest.Bob(), historytest.Carol()}, "quarantined"},
		{"an Admission, by somebody else", func(w *world) files {
			return files{"requests/adm.yaml": document("Admission", "path: "+path+"\nblob: "+w.blob(path)+"\n")}
		}, []historytest.Person{frank(), historytest.Carol()}, "admitted"},
		{"a comment more, by its writer", func(*world) files { return files{path: "# fine\n" + dave + "---\n" + creation("authz", "x")} },
			[]historytest.Person{historytest.Bob()}, "quarantined"},
		{"a comment more, by somebody else", func(*world) files { return files{path: "# fine\n" + dave + "---\n" + creation("authz", "x")} },
			[]historytest.Person{frank()}, "admitted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			// Bob pushes it, and Mallory pushes on top of it.
			w.Checkout("main")
			w.change(files{path: dave})
			w.Commit(historytest.CommitOptions{Author: historytest.Bob()})
			w.push(files{path: dave + "---\n" + creation("authz", "x")})
			if r := w.run(); len(r.Quarantined) != 1 {
				t.Fatalf("quarantined: %v", r.Quarantined)
			}
			w.propose("x", tt.ask(w))
			p := w.preview("x")
			if !strings.Contains(strings.Join(p.Evidence.Authors, " "), "bob@acme.test") {
				t.Errorf("the preview names the authors %v, want Bob among them", p.Evidence.Authors)
			}
			c := w.merge("x", tt.who...)
			wantVerdict(t, w.run(), c, tt.want)
			w.lose() // and in one go
			wantVerdict(t, w.run(), c, tt.want)
		})
	}
}

// What the installation would be given and nobody judged is held: the connector describes it differently than when the
// change was judged, without a connection.
func TestUnjudgedOperations(t *testing.T) {
	t.Parallel()
	role := func(d *schemas.Description) *schemas.ConnectionType {
		for i := range d.Types {
			if d.Types[i].Name == "role" {
				return &d.Types[i]
			}
		}
		return nil
	}
	object := func(d *schemas.Description) *schemas.GrantableType {
		for i := range role(d).Grantable {
			if role(d).Grantable[i].Type == "object" {
				return &role(d).Grantable[i]
			}
		}
		return nil
	}
	for _, tt := range []struct {
		name     string
		describe func(*schemas.Description)
		grant    string
		held     string // "" for carried out
	}{
		{"the same", func(*schemas.Description) {}, "{type: object, source_name: sales.payroll}", ""},
		{"a smaller installation", func(d *schemas.Description) { role(d).Create = false }, "{type: object, source_name: sales.payroll}", ""},
		{"another default", func(d *schemas.Description) { object(d).Default = []string{"write"} }, "{type: object, source_name: sales.payroll}", "another default than write on a object"},
		{"a role that is powerful", func(d *schemas.Description) { role(d).Privileged = []string{"sales_*"} }, user("dave"), "two owners must sign it off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			w.faults["authz"] = &fault{describe: tt.describe}
			c := w.land(files{"requests/g.yaml": assignment("authz", "sales_reader", grants(tt.grant))}, historytest.Bob())
			r := w.run()
			wantVerdict(t, r, c, "admitted")
			ops := outcome(t, r, "authz").Plan.Operations
			if len(ops) != 1 {
				t.Fatalf("operations: %+v", ops)
			}
			if tt.held == "" {
				if ops[0].Hold != schemas.HoldNone || len(w.holds("authz")) != 3 {
					t.Errorf("held: %s %s", ops[0].Hold, ops[0].HoldReason)
				}
				return
			}
			if ops[0].Hold != schemas.HoldSignoff || !strings.Contains(ops[0].HoldReason, tt.held) {
				t.Errorf("hold %q %q, want %q", ops[0].Hold, ops[0].HoldReason, tt.held)
			}
			w.wantHolds("authz", quiet()...)
			if code := reconciler.ExitCode(r, false); code != 5 {
				t.Errorf("exit code %d, want 5", code)
			}
		})
	}
}

// A change that the preview calls invalid isn't admitted, with all the sign-offs that there are.
func TestInvalidIsNotAdmitted(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"an unknown privilege":   assignment("authz", "sales_reader", grants("{type: object, source_name: sales.orders, privileges: [sudo]}")),
		"an unknown type":        assignment("authz", "sales_reader", grants("{type: table, source_name: sales.orders}")),
		"an unknown application": creation("nowhere", "x"),
		"not grantable":          assignment("authz", "sales_reader", grants(read("hr.files"))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			w.propose("x", files{"requests/x.yaml": request})
			if p := w.preview("x"); p.Verdict != schemas.VerdictInvalid && p.Verdict != schemas.VerdictDenied {
				t.Errorf("the preview is %s", p.Verdict)
			}
			c := w.merge("x", historytest.Bob(), historytest.Carol(), frank())
			wantVerdict(t, w.run(), c, "quarantined")
			w.wantHolds("authz", quiet()...)
		})
	}
}
