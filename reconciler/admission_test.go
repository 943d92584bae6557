package reconciler_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/schemas"
)

// A connection goes when the change takes its members away too, by a revoke or by undoing what put them there.
func TestConnectionInUse(t *testing.T) {
	t.Parallel()
	const out = "requests/out.yaml"
	role := creation("authz", "sales_writer")
	dave := assignment("authz", "sales_writer", grants(user("dave")))
	nested := assignment("authz", "sales_reader", grants("{type: role, source_name: sales_writer}"))
	tests := []struct {
		name    string
		stands  files
		change  files
		refused string // by which rule or finding of the preview
	}{
		{"deletion with a member", files{"requests/dave.yaml": dave}, files{out: deletion("authz", "sales_writer")}, "CS-130"},
		{"deletion and a revoke", files{"requests/dave.yaml": dave},
			files{out: assignment("authz", "sales_writer", revokes(user("dave"))) + "---\n" + deletion("authz", "sales_writer")}, ""},
		{"deletion and an undo", files{"requests/dave.yaml": dave}, files{out: deletion("authz", "sales_writer"), "requests/dave.yaml": ""}, ""},
		{"undo of the creation alone", files{"requests/dave.yaml": dave}, files{"requests/role.yaml": ""}, "undone-in-use"},
		{"undo of all", files{"requests/dave.yaml": dave}, files{"requests/role.yaml": "", "requests/dave.yaml": ""}, ""},
		{"undo of one of two grants", files{"requests/dave.yaml": dave, "requests/too.yaml": dave}, files{"requests/role.yaml": "", "requests/dave.yaml": ""}, "undone-in-use"},
		{"undo with another role in it", files{"requests/in.yaml": nested}, files{"requests/role.yaml": ""}, "undone-in-use"},
		{"undo of that too", files{"requests/in.yaml": nested}, files{"requests/role.yaml": "", "requests/in.yaml": ""}, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, files{"requests/role.yaml": role})
			w.land(tc.stands, historytest.Bob())
			w.run()
			w.propose("x", tc.change)
			p := w.preview("x")
			said := codes(p.Errors)
			for _, d := range p.Decision.Denials {
				said = append(said, d.Code)
			}
			before := w.holds("authz")
			c := w.merge("x", historytest.Bob())
			r := w.run()
			if tc.refused != "" {
				if !slices.Equal(said, []string{tc.refused}) {
					t.Errorf("the preview says %v, want %s", said, tc.refused)
				}
				// A merge all the same takes nothing away.
				if diff := cmp.Diff(before, w.holds("authz")); diff != "" {
					t.Errorf("after the merge (-before +after):\n%s", diff)
				}
				return
			}
			if p.Verdict != schemas.VerdictSignoff || len(said) > 0 {
				t.Errorf("the preview is %s %v, want %s", p.Verdict, said, schemas.VerdictSignoff)
			}
			wantVerdict(t, r, c, "admitted")
			w.wantHolds("authz", quiet()...)
		})
	}
}

// What was pushed without approval is let in as it stands by an Admission, with the sign-offs that its effect
// takes, and in no other form.
func TestAdmission(t *testing.T) {
	t.Parallel()
	const pushed = "requests/pushed.yaml"
	admit := func(path, blob string) string {
		return document("Admission", fmt.Sprintf("path: %s\nblob: %q\n", path, blob))
	}
	dave := assignment("authz", "sales_reader", grants(user("dave")))
	tests := []struct {
		name      string
		pushed    files
		admission func(w *world) string
		// then comes to main after the admission was proposed and before it is merged.
		then      files
		approvers []historytest.Person
		admitted  bool
		code      string // of the preview's error
		holds     []string
	}{
		{
			name: "path and blob", pushed: files{pushed: dave}, admission: func(w *world) string { return admit(pushed, w.blob(pushed)) },
			approvers: []historytest.Person{historytest.Bob(), historytest.Carol()}, admitted: true, holds: []string{"sales_reader: dave"},
		},
		{
			name: "another blob", pushed: files{pushed: dave}, admission: func(*world) string { return admit(pushed, strings.Repeat("1", 40)) },
			approvers: []historytest.Person{historytest.Bob(), historytest.Carol()}, code: "admission",
		},
		{
			name: "no blob for a file that is there", pushed: files{pushed: dave}, admission: func(*world) string { return admit(pushed, "") },
			approvers: []historytest.Person{historytest.Bob(), historytest.Carol()}, code: "admission",
		},
		{
			name: "content that is changed after the approval", pushed: files{pushed: dave}, admission: func(w *world) string { return admit(pushed, w.blob(pushed)) },
			then:      files{pushed: assignment("authz", "sales_reader", grants(user("dave"), user("gina")))},
			approvers: []historytest.Person{historytest.Bob(), historytest.Carol()},
		},
		{
			name: "what is not quarantined", pushed: files{pushed: dave}, admission: func(w *world) string { return admit("requests/base.yaml", w.blob("requests/base.yaml")) },
			approvers: []historytest.Person{historytest.Bob(), historytest.Carol()}, code: "admission",
		},
		{
			name: "without the application's owner", pushed: files{pushed: dave}, admission: func(w *world) string { return admit(pushed, w.blob(pushed)) },
			approvers: []historytest.Person{historytest.Carol()},
		},
		{
			name: "without the settings' owner", pushed: files{pushed: dave}, admission: func(w *world) string { return admit(pushed, w.blob(pushed)) },
			approvers: []historytest.Person{historytest.Bob()},
		},
		{
			name: "signed off by whom it lets in", pushed: files{pushed: assignment("authz", "sales_reader", grants(user("bob")))},
			admission: func(w *world) string { return admit(pushed, w.blob(pushed)) },
			approvers: []historytest.Person{historytest.Bob(), historytest.Carol()},
		},
		{
			name: "signed off by another owner", pushed: files{pushed: assignment("authz", "sales_reader", grants(user("bob")))},
			admission: func(w *world) string { return admit(pushed, w.blob(pushed)) },
			approvers: []historytest.Person{frank(), historytest.Carol()}, admitted: true, holds: []string{"sales_reader: bob"},
		},
		{
			name: "a deletion", pushed: files{"requests/erin.yaml": ""}, admission: func(*world) string { return admit("requests/erin.yaml", "") },
			approvers: []historytest.Person{historytest.Bob(), historytest.Carol()}, admitted: true,
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, files{"requests/erin.yaml": assignment("authz", "sales_reader", grants(user("erin")))})
			before := w.holds("authz")
			c := w.push(tc.pushed)
			r := w.run()
			wantVerdict(t, r, c, "quarantined")
			if len(r.Quarantined) != 1 {
				t.Errorf("quarantined: %v", r.Quarantined)
			}
			if diff := cmp.Diff(before, w.holds("authz")); diff != "" {
				t.Errorf("by the push alone (-before +after):\n%s", diff)
			}
			w.propose("admit", files{"requests/admit.yaml": tc.admission(w)})
			p := w.preview("admit")
			if got := codes(p.Errors); tc.code != "" && !slices.Equal(got, []string{tc.code}) || tc.code == "" && len(got) > 0 {
				t.Errorf("the preview's errors are %v, want %q", p.Errors, tc.code)
			}
			if tc.then != nil {
				w.push(tc.then)
			}
			c = w.merge("admit", tc.approvers...)
			r = w.run()
			if !tc.admitted {
				wantVerdict(t, r, c, "quarantined")
				if diff := cmp.Diff(before, w.holds("authz")); diff != "" {
					t.Errorf("after the refused admission (-before +after):\n%s", diff)
				}
				return
			}
			if v := wantVerdict(t, r, c, "admitted"); len(v.Admits) != 1 {
				t.Errorf("the record says that it admits %v", v.Admits)
			}
			if len(r.Quarantined) != 0 {
				t.Errorf("still quarantined: %v", r.Quarantined)
			}
			want := append(quiet(), tc.holds...)
			if _, deleted := tc.pushed["requests/erin.yaml"]; !deleted {
				want = append(want, "sales_reader: erin")
			}
			w.wantHolds("authz", want...)
		})
	}
}

// A change is judged by what stands when it is merged, not by what stood when it was previewed.
func TestBaseMoves(t *testing.T) {
	t.Parallel()
	dave := files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(user("dave")))}
	tests := []struct {
		name   string
		change files
		// moves is what is merged between the preview and the merge.
		moves func(w *world)
		// approver is enough by the first preview; after the base has moved it no longer is.
		approver  historytest.Person
		admitted  bool
		wantUnmet int
		gains     []string // beyond what the first preview says
		holds     []string
	}{
		{
			name: "the owner whom the preview named owns it no more", change: dave, approver: historytest.Bob(), wantUnmet: 1,
			moves: func(w *world) {
				w.land(files{"applications/authz.yaml": strings.Replace(w.application("authz", ""), "user:bob@acme.test, ", "", 1)}, historytest.Bob(), historytest.Carol())
			},
		},
		{
			name: "what is granted has become privileged", change: dave, approver: historytest.Bob(), wantUnmet: 2,
			moves: func(w *world) {
				w.land(files{"applications/authz.yaml": w.application("authz", "privileged: {role: [sales_reader]}\n")}, historytest.Bob(), historytest.Carol())
			},
		},
		{
			name: "the approver has come to gain by it", approver: historytest.Bob(), wantUnmet: 1,
			change: files{"requests/more.yaml": assignment("authz", "sales_reader", grants(read("sales.payroll")))},
			moves: func(w *world) {
				w.land(files{"requests/bob.yaml": assignment("authz", "sales_reader", grants(user("bob")))}, frank())
			},
			gains: []string{"bob read sales.payroll"}, holds: []string{"sales_reader: bob"},
		},
		{
			name: "the role has come to give more", change: dave, approver: historytest.Bob(), admitted: true, wantUnmet: 1,
			moves: func(w *world) {
				w.land(files{"requests/more.yaml": assignment("authz", "sales_reader", grants(read("sales.payroll")))}, historytest.Bob())
			},
			gains: []string{"dave read sales.payroll"}, holds: []string{"sales_reader: dave", "sales_reader read sales.payroll"},
		},
		{
			name: "somebody else has granted it", change: dave, approver: historytest.Bob(), admitted: true, wantUnmet: 1,
			moves: func(w *world) {
				w.land(files{"requests/same.yaml": assignment("authz", "sales_reader", grants(user("dave")))}, historytest.Bob())
			},
			holds: []string{"sales_reader: dave"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			w.propose("x", tc.change)
			first := w.preview("x")
			if first.Verdict != schemas.VerdictSignoff || len(first.Unmet) != 1 {
				t.Fatalf("the first preview: %s %v %v", first.Verdict, first.Unmet, first.Errors)
			}
			tc.moves(w)
			w.run()
			second := w.preview("x")
			if second.Base == first.Base {
				t.Error("the second preview has the first one's base")
			}
			if len(second.Unmet) != tc.wantUnmet {
				t.Errorf("the second preview misses %v, want %d", second.Unmet, tc.wantUnmet)
			}
			known := map[string]bool{}
			for _, a := range first.Gained {
				known[a.Identity.SourceName+" "+a.Privilege+" "+a.Target.SourceName] = true
			}
			var gains []string
			for _, a := range second.Gained {
				if s := a.Identity.SourceName + " " + a.Privilege + " " + a.Target.SourceName; !known[s] {
					gains = append(gains, s)
				}
			}
			if diff := cmp.Diff(tc.gains, gains); diff != "" {
				t.Errorf("gained beyond the first preview (-want +got):\n%s", diff)
			}
			c := w.merge("x", tc.approver)
			verdict := "quarantined"
			if tc.admitted {
				verdict = "admitted"
			}
			v := wantVerdict(t, w.run(), c, verdict)
			if v.Evidence == nil || v.Evidence.ContentDigest != second.ContentDigest {
				t.Errorf("the record's content is not that of the second preview: %+v", v.Evidence)
			}
			w.wantHolds("authz", append(quiet(), tc.holds...)...)
			// Who judges all merges in one go comes to the same verdict.
			w.lose()
			wantVerdict(t, w.run(), c, verdict)
			w.wantHolds("authz", append(quiet(), tc.holds...)...)
		})
	}
}

// The digest that reviewers approve is of the change against what is admitted: an edit of content that was
// never admitted is another change, though the branch's own diff is the same.
func TestDigestIsOfTheAdmittedTree(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	w.land(files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(user("dave")))}, historytest.Bob())
	w.propose("x", files{"requests/dave.yaml": ""})
	first := w.preview("x")
	// Main moves: the file is deleted without approval, so that the merge changes nothing by Git's diff.
	w.push(files{"requests/dave.yaml": ""})
	w.run()
	second := w.preview("x")
	if first.ContentDigest != second.ContentDigest || len(second.Files) != 1 {
		t.Errorf("the same deletion against the same admitted file has another digest, or is lost: %v", second.Files)
	}
	w.wantHolds("authz", append(quiet(), "sales_reader: dave")...)
	// And against a file that was admitted in another form it has another one.
	w.push(files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(user("dave"))) + "# restored, with a word more\n"})
	w.land(files{"requests/admit.yaml": document("Admission", fmt.Sprintf("path: requests/dave.yaml\nblob: %s\n", w.blob("requests/dave.yaml")))},
		historytest.Bob(), historytest.Carol())
	w.run()
	if third := w.preview("x"); third.ContentDigest == first.ContentDigest {
		t.Error("the digest does not tell which admitted content is deleted")
	}
}

// What is there already is told apart from what cannot be.
func TestAlreadyThere(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	w.tamper("authz", "g, dave, sales_reader")
	w.propose("x", files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(user("dave"))),
		"requests/nothing.yaml": assignment("authz", "sales_nothing", grants(user("dave")))})
	p := w.preview("x")
	if !slices.Equal(codes(p.Errors), []string{"no-connection"}) {
		t.Errorf("the errors are %v", p.Errors)
	}
	if len(p.Already) != 1 || p.Already[0].Connection.SourceName != "sales_reader" {
		t.Errorf("there already: %v", p.Already)
	}
}
