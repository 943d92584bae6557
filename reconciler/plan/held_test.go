package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/schemas"
)

func TestHoldDependents(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("C role/a", "run", "live -role/a", "A role/a +user/x", "A role/b +role/a", "live role/b", "D role/c", "live role/c")
	res := w.diff()
	hold.Operations(&res.Plan, hold.Rules{})
	want := []string{
		"create role/a limit=-1 login=false, drift, held: drift", "grant role/a user/x MEMBER, request, held: drift",
		"grant role/b role/a MEMBER, request, held: drift", "delete role/c, request",
	}
	if diff := cmp.Diff(want, lines(&res.Plan)); diff != "" {
		t.Error(diff)
	}
}

// An approved deletion does not wait for an edge that nobody asked to be taken away: it goes with it.
func TestDeletionDoesNotWaitForDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("D role/c", "live role/c", "live role/b role/c:MEMBER")
	w.app.Spec.Unmanaged = schemas.UnmanagedRevoke
	res := w.diff()
	hold.Operations(&res.Plan, hold.Rules{})
	want := []string{"revoke role/b role/c MEMBER, unmanaged, held: drift", "delete role/c, request", "unmanaged role/b role/c MEMBER"}
	if diff := cmp.Diff(want, lines(&res.Plan)); diff != "" {
		t.Error(diff)
	}
}

func TestHoldKeepsEarlierHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("C role/a", "A role/a +user/x", "run", "live role/a#99")
	res := w.diff()
	hold.Operations(&res.Plan, hold.Rules{Enforce: true})
	want := []string{"grant role/a user/x MEMBER, drift, held: identity", "! other-id role/a"}
	if diff := cmp.Diff(want, lines(&res.Plan)); diff != "" {
		t.Error(diff)
	}
}

func TestHoldProvisioning(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("A role/a provisioning=ticket +user/x", "A role/a +user/y", "live role/a")
	res := w.diff()
	hold.Operations(&res.Plan, hold.Rules{Unable: map[schemas.Provisioning]string{schemas.ProvisioningTicket: "nobody can be asked"}})
	want := []string{"grant role/a user/x MEMBER, request, held: provision", "grant role/a user/y MEMBER, request"}
	if diff := cmp.Diff(want, lines(&res.Plan)); diff != "" {
		t.Error(diff)
	}
}
