package signoff_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

func people() schemas.PeopleSpec {
	return schemas.PeopleSpec{
		People: []schemas.Person{
			{Login: "alice", Emails: []string{"alice@acme.test", "Alice@Home.Test", "1+alice@users.noreply.github.com"}, Identities: map[string][]string{"warehouse": {"alice", "alice_admin"}}},
			{Login: "bob", Emails: []string{"bob@acme.test"}, Identities: map[string][]string{"warehouse": {"bob"}, "corp": {"alice"}}},
			{Emails: []string{"carol@acme.test"}}, {Emails: []string{"erin@acme.test"}},
		},
		Teams: map[string][]string{"acme/data": {"Bob", "carol@acme.test", "dave@acme.test", "bob@acme.test"}, "acme/empty": {}, "acme/alice": {"alice"}},
	}
}

func directory(t testing.TB) *signoff.Directory {
	t.Helper()
	d, err := signoff.NewDirectory(people())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	d := directory(t)
	for name, want := range map[string]string{
		"alice": "alice", " ALICE@home.test ": "alice", "carol@acme.test": "carol@acme.test", "Eve@acme.test": "eve@acme.test", "": "",
	} {
		if got := d.Canonical(name); got != want {
			t.Errorf("Canonical(%q) = %q, want %q", name, got, want)
		}
	}
	if d.Known("eve@acme.test") || !d.Known("Alice@acme.test") {
		t.Error("Known takes Eve for somebody, or Alice for nobody")
	}
	if diff := cmp.Diff([]string{"team:acme/data", "user:bob", "user:bob@acme.test"}, d.Capacities("bob@acme.test")); diff != "" {
		t.Errorf("Capacities (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"team:acme/data", "user:dave@acme.test"}, d.Capacities("Dave@acme.test")); diff != "" {
		t.Errorf("Capacities of somebody whom only a team knows (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		principal string
		want      []string
	}{
		{"team:acme/data", []string{"bob", "carol@acme.test", "dave@acme.test"}}, {"team:acme/empty", nil}, {"team:acme/none", nil},
		{"user:Bob@acme.test", []string{"bob"}}, {"user:", nil}, {"acme/data", nil},
	} {
		if got := d.Eligible(tt.principal); !slices.Equal(got, tt.want) {
			t.Errorf("Eligible(%s) = %q, want %q", tt.principal, got, tt.want)
		}
	}
	for _, tt := range []struct {
		application, name, want string
	}{{"warehouse", "alice", "alice"}, {"corp", "alice", "bob"}, {"warehouse", "Alice", ""}, {"other", "alice", ""}, {"warehouse", "carol", ""}} {
		if got, ok := d.Identity(tt.application, tt.name); got != tt.want || ok != (tt.want != "") {
			t.Errorf("Identity(%s, %s) = %q, %t, want %q", tt.application, tt.name, got, ok, tt.want)
		}
	}
}

func TestDirectoryRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		spec schemas.PeopleSpec
		want string
	}{
		{"an address of two", schemas.PeopleSpec{People: []schemas.Person{{Login: "a", Emails: []string{"x@acme.test"}}, {Login: "b", Emails: []string{"X@Acme.test"}}}}, "claimed by two people"},
		{"one person twice", schemas.PeopleSpec{People: []schemas.Person{{Login: "a", Emails: []string{"x@acme.test"}}, {Login: "A", Emails: []string{"y@acme.test"}}}}, "claimed by two people"},
		{"a login that is another's address", schemas.PeopleSpec{People: []schemas.Person{{Login: "a", Emails: []string{"x@acme.test"}}, {Login: "x@acme.test"}}}, "claimed by two people"},
		{"an identity of two", schemas.PeopleSpec{People: []schemas.Person{
			{Login: "a", Identities: map[string][]string{"w": {"root"}}}, {Login: "b", Identities: map[string][]string{"w": {"root"}}}}}, "identity root of w is claimed by two people, a and b"},
		{"nobody", schemas.PeopleSpec{People: []schemas.Person{{}}}, "has neither login nor emails"},
		{"an empty address", schemas.PeopleSpec{People: []schemas.Person{{Login: "a", Emails: []string{" "}}}}, "empty login or address"},
		{"an empty member", schemas.PeopleSpec{Teams: map[string][]string{"t": {""}}}, "empty member"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := signoff.NewDirectory(tt.spec); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewDirectory = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	by := func(people ...string) (out []schemas.Approval) {
		for _, p := range people {
			out = append(out, schemas.Approval{Person: p, Method: "signature", Authenticated: true, At: &at})
		}
		return out
	}
	owners := schemas.Requirement{Code: "CS-owners", From: []string{"team:acme/data"}, Count: 1, Why: "bob's team owns it"}
	two := schemas.Requirement{Code: "CS-privileged", From: []string{"team:acme/data", "user:erin@acme.test"}, Count: 2, Why: "it is privileged"}
	carol := schemas.Requirement{Code: "CS-settings", From: []string{"user:carol@acme.test"}, Count: 1, Why: "the settings change"}
	manager := schemas.Requirement{Code: "A-1", From: []string{"user:carol@acme.test", "user:erin@acme.test"}, Count: 1, Why: "stage 1"}
	manager2 := manager
	manager2.Why = "stage 1 again"
	security := schemas.Requirement{Code: "A-1", From: []string{"team:acme/data"}, Count: 1, Why: "stage 2"}
	crm := schemas.Requirement{Code: "A-2", From: []string{"user:bob", "user:erin@acme.test"}, Count: 1, Why: "crm"}
	crm2 := crm
	crm2.Why = "crm again"
	erp := schemas.Requirement{Code: "A-2", From: []string{"user:carol@acme.test", "user:erin@acme.test"}, Count: 1, Why: "erp"}
	onlyCarol := schemas.Requirement{Code: "A-4", From: []string{"user:carol@acme.test"}, Count: 1, Why: "first"}
	onlyCarol2 := onlyCarol
	onlyCarol2.Why = "again"
	tests := []struct {
		name               string
		authors            []string // alice@acme.test unless set
		unattributed       []string
		approvals          []schemas.Approval
		required           []schemas.Requirement // owners unless set
		beneficiaries      []string
		unknown            []string
		admitted           bool
		counts             []string
		reasons            []string // each is part of one reason
		unmet, unforgiving int
	}{
		{name: "an owner approves", approvals: by("bob@acme.test"), admitted: true, counts: []string{"bob"}},
		{name: "by an alias", approvals: by("BOB"), admitted: true, counts: []string{"bob"}},
		{name: "nobody approves", reasons: []string{"owners: 0 of 1 sign-offs from team:acme/data (bob's team owns it)"}, unmet: 1},
		{name: "a stranger approves", approvals: by("eve@acme.test"), reasons: []string{"nobody in people.yaml has this account or address", "owners: 0 of 1"}, unmet: 1},
		{name: "the author approves", authors: []string{"bob@acme.test"}, approvals: by("bob@acme.test"), unmet: 1,
			reasons: []string{"bob@acme.test's approval does not count: the approver authored part of this change", "owners: 0 of 1"}},
		{name: "the author under another address", authors: []string{"alice@home.test"}, approvals: by("alice@acme.test"), unmet: 1, unforgiving: 1,
			required: []schemas.Requirement{{Code: "c", From: []string{"team:acme/alice"}, Count: 1}},
			reasons:  []string{"does not count: the approver authored part of this change", "c: 0 of 1", "c requires 1 sign-off from team:acme/alice, but only 0 of them may sign off: alice authored part of this change"}},
		{name: "a committer approves", authors: []string{"alice@acme.test", "bob@acme.test"}, approvals: by("bob"), unmet: 1,
			reasons: []string{"does not count: the approver authored part of this change", "owners: 0 of 1"}},
		{name: "a beneficiary approves", beneficiaries: []string{"bob"}, approvals: by("bob@acme.test"), unmet: 1,
			reasons: []string{"does not count: the approver gains access from this change", "owners: 0 of 1"}},
		{name: "a beneficiary that is nobody", unknown: []string{"warehouse/user/ghost"}, approvals: by("bob@acme.test"), counts: []string{"bob"}, unforgiving: 1,
			reasons: []string{"warehouse/user/ghost gains access but is not mapped to anyone in people.yaml"}},
		{name: "an author that is nobody", unattributed: []string{"root <root@host>"}, approvals: by("bob@acme.test"), counts: []string{"bob"}, unforgiving: 1,
			reasons: []string{"cannot be identified: root <root@host>"}},
		{name: "an author behind a forge's address", authors: []string{"9+eve@users.noreply.github.com"}, approvals: by("bob@acme.test"), counts: []string{"bob"}, unforgiving: 1,
			reasons: []string{"does not identify a person"}},
		{name: "an author behind a forge's address that people.yaml knows", authors: []string{"1+alice@users.noreply.github.com"}, approvals: by("bob@acme.test"), admitted: true, counts: []string{"bob"}},
		{name: "an approver behind a forge's address", approvals: by("9+eve@users.noreply.github.com"), unmet: 1,
			reasons: []string{"its address does not identify a person", "owners: 0 of 1"}},
		{name: "no author at all", authors: []string{}, approvals: by("bob@acme.test"), counts: []string{"bob"}, unforgiving: 1, reasons: []string{"the author of the change is unknown"}},
		{name: "an author without a name", authors: []string{" "}, approvals: by("bob@acme.test"), counts: []string{"bob"}, unforgiving: 1, reasons: []string{"an author or committer without a name"}},
		{name: "a bot approves", approvals: by("49699333+dependabot[bot]@users.noreply.github.com", "renovate[bot]"), unmet: 1,
			reasons: []string{"it comes from a bot", "it comes from a bot", "owners: 0 of 1"}},
		{name: "an approval of nobody", approvals: by(""), unmet: 1, reasons: []string{"it does not name anyone", "owners: 0 of 1"}},
		{name: "the forge says no", approvals: []schemas.Approval{{Person: "bob@acme.test", Why: "the key is not allowed", Authenticated: true, Counts: true}}, unmet: 1,
			reasons: []string{"bob@acme.test's approval does not count: the key is not allowed", "owners: 0 of 1"}},
		{name: "the forge says no once and yes once", approvals: append([]schemas.Approval{{Person: "bob@acme.test", Why: "the key is not allowed"}}, by("bob@acme.test")...), admitted: true, counts: []string{"bob"}},
		{name: "policy asks for nobody", required: []schemas.Requirement{}, approvals: by("bob@acme.test"), counts: []string{"bob"}, unforgiving: 1, reasons: []string{"policy required no sign-off"}},
		{name: "two are needed and one approves twice", required: []schemas.Requirement{two}, approvals: by("bob", "bob@acme.test"), counts: []string{"bob"}, unmet: 1,
			reasons: []string{"the same person has already approved", "privileged: 1 of 2"}},
		{name: "two are needed and two approve", required: []schemas.Requirement{two}, approvals: by("bob", "erin@acme.test"), admitted: true, counts: []string{"bob", "erin@acme.test"}},
		{name: "one person serves two requirements", required: []schemas.Requirement{owners, carol}, approvals: by("carol@acme.test"), admitted: true, counts: []string{"carol@acme.test"}},
		{name: "one person serves two requirements of the repository", required: []schemas.Requirement{manager, security}, approvals: by("carol@acme.test"), counts: []string{"carol@acme.test"}, unmet: 1,
			reasons: []string{"carol@acme.test's sign-off is counted for A-1 (stage 1), and different requirements need different people"}},
		{name: "two people serve two requirements of the repository, whoever comes first", required: []schemas.Requirement{manager, security}, approvals: by("carol@acme.test", "bob"), admitted: true, counts: []string{"carol@acme.test", "bob"}},
		{name: "the repository's requirement beside the library's", required: []schemas.Requirement{owners, manager}, approvals: by("carol@acme.test"), admitted: true, counts: []string{"carol@acme.test"}},
		{name: "two stages of the same people", required: []schemas.Requirement{manager, manager2}, approvals: by("carol@acme.test"), counts: []string{"carol@acme.test"}, unmet: 1,
			reasons: []string{"A-1: 0 of 1"}},
		{name: "the repository asks the owners of two applications", required: []schemas.Requirement{crm, erp}, approvals: by("erin@acme.test"), admitted: true, counts: []string{"erin@acme.test"}},
		{name: "the repository asks the owners of two applications and security", required: []schemas.Requirement{crm, erp, security}, approvals: by("erin@acme.test", "carol@acme.test"), admitted: true,
			counts: []string{"erin@acme.test", "carol@acme.test"}},
		{name: "the owners of one application twice", required: []schemas.Requirement{crm, erp, crm2}, approvals: by("erin@acme.test"), counts: []string{"erin@acme.test"}, unmet: 1, reasons: []string{"A-2: 0 of 1"}},
		{name: "requirements that one person alone could meet", required: []schemas.Requirement{onlyCarol, onlyCarol2}, approvals: by("carol@acme.test"), counts: []string{"carol@acme.test"}, unmet: 1, unforgiving: 1,
			reasons: []string{"A-4: 0 of 1", "too few people may sign off: different requirements need different people, and nobody is left for A-4 (again)"}},
		{name: "one requirement of two is met", required: []schemas.Requirement{owners, carol}, approvals: by("bob"), counts: []string{"bob"}, unmet: 1, reasons: []string{"settings: 0 of 1"}},
		{name: "a count of zero is one", required: []schemas.Requirement{{Code: "c", From: []string{"user:bob"}}}, unmet: 1, reasons: []string{"c: 0 of 1"}},
		{name: "an empty team", required: []schemas.Requirement{{Code: "c", From: []string{"team:acme/empty"}, Count: 1}}, approvals: by("bob"), counts: []string{"bob"}, unmet: 1, unforgiving: 1,
			reasons: []string{"c: 0 of 1", "c requires 1 sign-off from team:acme/empty, but only 0 of them may sign off: no one else is listed"}},
		{name: "two applications of an owner who cannot", authors: []string{"bob@acme.test"}, unmet: 2, unforgiving: 1,
			required: []schemas.Requirement{{Code: "c", From: []string{"user:bob"}, Why: "of one"}, {Code: "c", From: []string{"user:bob"}, Why: "of another"}},
			reasons:  []string{"c: 0 of 1 sign-offs from user:bob (of one)", "c: 0 of 1 sign-offs from user:bob (of another)", "c requires 1 sign-off from user:bob, but only 0"}},
		{name: "from nobody", required: []schemas.Requirement{{Code: "c", Count: 1}}, approvals: by("bob"), counts: []string{"bob"}, unmet: 1, unforgiving: 1, reasons: []string{"c: 0 of 1", "c requires 1"}},
		{name: "too few are left", authors: []string{"bob@acme.test", "carol@acme.test"}, beneficiaries: []string{"dave@acme.test"}, unmet: 1, unforgiving: 1,
			reasons: []string{"owners: 0 of 1", "only 0 of them may sign off: bob authored part of this change; carol@acme.test authored part of this change; dave@acme.test gains access from this change"}},
		{name: "a team that only the forge knows", required: []schemas.Requirement{{Code: "c", From: []string{"team:forge/team"}, Count: 1}},
			approvals: []schemas.Approval{{Person: "bob", Capacities: []string{"team:forge/team"}}}, admitted: true, counts: []string{"bob"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := signoff.JudgeInput{Evidence: schemas.Evidence{Authors: []string{"alice@acme.test"}, Approvals: tt.approvals, Unattributed: tt.unattributed},
				Required: []schemas.Requirement{owners}, Beneficiaries: tt.beneficiaries, UnknownBeneficiaries: tt.unknown, Directory: directory(t),
				Owners: map[string][]string{"crm": {"user:erin@acme.test", "user:bob"}, "erp": erp.From}, Now: at}
			if tt.authors != nil {
				in.Evidence.Authors = tt.authors
			}
			if tt.required != nil {
				in.Required = tt.required
			}
			v := signoff.Judge(in)
			if v.Admitted != tt.admitted {
				t.Errorf("Admitted = %t, want %t", v.Admitted, tt.admitted)
			}
			var counts []string
			for _, s := range v.Signoffs {
				counts = append(counts, s.Person)
			}
			if diff := cmp.Diff(tt.counts, counts); diff != "" {
				t.Errorf("sign-offs (-want +got):\n%s", diff)
			}
			if len(v.Reasons) != len(tt.reasons) {
				t.Errorf("reasons = %q, want %d", v.Reasons, len(tt.reasons))
			}
			for i := range min(len(v.Reasons), len(tt.reasons)) {
				if !strings.Contains(v.Reasons[i], tt.reasons[i]) {
					t.Errorf("reason %q, want %q in it", v.Reasons[i], tt.reasons[i])
				}
			}
			if len(v.Unmet) != tt.unmet || len(v.Blocking) != tt.unforgiving {
				t.Errorf("unmet = %v, blocking = %q, want %d and %d", v.Unmet, v.Blocking, tt.unmet, tt.unforgiving)
			}
			for i, a := range v.Evidence.Approvals {
				if a.Counts == (a.Why != "") || a.Counts == (len(a.Capacities) == 0) {
					t.Errorf("approval %d neither counts nor says why, or both: %+v", i, a)
				}
			}
			if diff := cmp.Diff(v.Signoffs, signoff.Independent(in.Evidence, in.Directory, in.Beneficiaries)); diff != "" {
				t.Errorf("Independent differs (-judge +independent):\n%s", diff)
			}
			for _, a := range tt.approvals {
				if a.Counts && a.Why == "" {
					t.Error("Judge changed its input")
				}
			}
		})
	}
}
