package fulfilment_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/run/fulfilment"
	"github.com/countersign/countersign/schemas"
)

// TestClassify is what a run does about an operation that somebody outside was asked for.
func TestClassify(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	user := schemas.Name{Type: "user", SourceName: "alice"}
	op := schemas.Operation{ID: "o", Kind: schemas.OperationGrant, Connection: schemas.Name{Type: "role", SourceName: "a"}, Target: &user, Privilege: schemas.PrivilegeMember, Provisioning: schemas.ProvisioningWebhook}
	app := &schemas.Application{Spec: schemas.ApplicationSpec{Fulfilment: &schemas.Fulfilment{Grace: "1h"}}}
	with := func(change func(*schemas.Operation)) *schemas.Operation {
		o := op
		if change != nil {
			change(&o)
		}
		return &o
	}
	const webhook, ticket = schemas.ProvisioningWebhook, schemas.ProvisioningTicket
	type want struct {
		hold           schemas.Hold
		seen, vanished bool
		differing      bool
	}
	for name, c := range map[string]struct {
		state   schemas.FulfilmentState
		via     schemas.Provisioning
		ago     time.Duration // since the state came to be
		round   int
		planned *schemas.Operation // nil: not in the plan
		seen    bool
		unknown bool
		invited bool
		gone    bool
		want    want
	}{
		"pending":                              {state: "pending", via: webhook, planned: with(nil), want: want{hold: "pending"}},
		"never heard of":                       {state: "submitting", via: webhook, planned: with(nil), want: want{}},
		"said, within the grace":               {state: "applied", via: webhook, ago: 59 * time.Minute, planned: with(nil), want: want{hold: "pending"}},
		"said, after it":                       {state: "applied", via: webhook, ago: time.Hour, planned: with(nil), want: want{differing: true}},
		"said again, within the longer grace":  {state: "applied", via: webhook, ago: 90 * time.Minute, round: 1, planned: with(nil), want: want{hold: "pending"}},
		"said, after it, and nothing was read": {state: "applied", via: webhook, ago: 2 * time.Hour, planned: with(nil), unknown: true, want: want{hold: "pending"}},
		"found to differ":                      {state: "differs", via: webhook, planned: with(nil), want: want{}},
		"failed":                               {state: "failed", via: webhook, ago: time.Minute, planned: with(nil), want: want{hold: "declined"}},
		"failed long ago":                      {state: "failed", via: webhook, ago: 2 * time.Hour, planned: with(nil), want: want{}},
		"declined in a ticket":                 {state: "failed", via: ticket, ago: 1000 * time.Hour, planned: with(func(o *schemas.Operation) { o.Provisioning = ticket }), want: want{hold: "declined"}},
		"declined in a ticket that is gone":    {state: "failed", via: ticket, gone: true, planned: with(func(o *schemas.Operation) { o.Provisioning = ticket }), want: want{}},
		"seen":                                 {state: "pending", via: webhook, seen: true, want: want{seen: true}},
		"seen after it failed":                 {state: "failed", via: webhook, seen: true, want: want{seen: true}},
		"not wanted any more":                  {state: "pending", via: webhook, want: want{vanished: true}},
		"not in a plan that is not whole":      {state: "pending", via: webhook, unknown: true, want: want{}},
		"seen in part of a plan":               {state: "pending", via: webhook, seen: true, unknown: true, want: want{}},
		"invited":                              {state: "pending", via: webhook, invited: true, want: want{}},
		"another id behind the name":           {state: "pending", via: webhook, planned: with(func(o *schemas.Operation) { o.Hold, o.HoldReason = schemas.HoldIdentity, "it stands for 8 now" }), want: want{vanished: true}},
		"in another way now":                   {state: "pending", via: webhook, planned: with(func(o *schemas.Operation) { o.Provisioning = schemas.ProvisioningDirect }), want: want{vanished: true}},
		"of another id now":                    {state: "pending", via: webhook, planned: with(func(o *schemas.Operation) { o.TargetID = "8" }), want: want{vanished: true}},
		"withdrawn":                            {state: "withdrawn", via: webhook, planned: with(nil), want: want{}},
		"verified once":                        {state: "verified", via: webhook, planned: with(nil), want: want{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := ledger.Fulfilment{FulfilmentRecord: schemas.FulfilmentRecord{Operation: "o", Via: c.via, Round: c.round}, State: c.state, Changed: now.Add(-c.ago), Since: now.Add(-c.ago), Plan: op}
			f.Plan.TargetID = "7"
			p := &schemas.ApplicationPlan{}
			if c.planned != nil {
				p.Operations = append(p.Operations, *c.planned)
			}
			if c.invited {
				p.Pending = append(p.Pending, schemas.PendingEntitlement{Key: op.Key(), State: "invited"})
			}
			o := fulfilment.Classify(app, map[string]ledger.Fulfilment{"o": f}, map[string]bool{"o": c.gone}, func(*ledger.Fulfilment) bool { return c.seen }, p, c.unknown, now)
			got := want{hold: o.Holds["o"].Hold, seen: len(o.Seen) > 0, vanished: o.Vanished["o"] != "", differing: len(o.Differing) > 0}
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if got.hold != "" && (o.LookAgain.IsZero() || !o.LookAgain.After(now)) {
				t.Errorf("it waits, and is looked at again at %s", o.LookAgain)
			}
		})
	}
}
