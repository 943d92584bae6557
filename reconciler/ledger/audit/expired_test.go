package audit

import (
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

// expired_in_time is about what reads show: what nobody read proves nothing, and what somebody took by hand is gone all
// the same.
func TestExpiredInTime(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	grant := operation("a", schemas.OperationGrant, schemas.CauseRequest, doc("r.yaml", "b1"))
	grant.Expires = ptr(at.Add(time.Hour))
	off := operation("a", schemas.OperationRevoke, schemas.CauseExpiry, doc("r.yaml", "b1"))
	off.ID = "off"
	again := operation("a", schemas.OperationGrant, schemas.CauseDrift, doc("r.yaml", "b1"))
	again.Expires = grant.Expires
	deletion := operation("d", schemas.OperationDelete, schemas.CauseRequest, doc("d.yaml", "b3"))
	second := doc("second.yaml", "b2")
	item := itemOf(grant.Key())
	mark, other := markOf(doc("r.yaml", "b1")), markOf(second)
	wanted := schemas.BaselineItem{Item: item, Token: "present:" + mark, Made: true}
	gone := schemas.BaselineItem{Item: item, Token: "absent-expiry:" + mark}
	seen := func(kind schemas.SightingKind, closed bool) schemas.Record {
		list := []schemas.Sighting{{Kind: kind, Item: item, Documents: grant.Documents}}
		o := &schemas.ObservationRecord{Opened: list}
		if closed {
			o = &schemas.ObservationRecord{Closed: list}
		}
		return schemas.Record{Type: schemas.RecordObservation, Application: app, Observation: o}
	}
	adopted := func(b schemas.BaselineItem) schemas.Record {
		return schemas.Record{Type: schemas.RecordAdoption, Run: "x", Application: app, Baseline: []schemas.BaselineItem{b}}
	}
	type step struct {
		after   time.Duration // after the grant, which ends after an hour
		records []schemas.Record
	}
	taken := []schemas.Record{intent("o", off), outcome("o", off, statusApplied), verified("o", off, statusVerified, gone)}
	read := []schemas.Record{end("e", "v", nil)}
	both := schemas.BaselineItem{Item: item, Token: "present:" + mark + "," + other, Expires: ptr(at.Add(200 * time.Hour))}
	onlySecond := schemas.BaselineItem{Item: item, Token: "present:" + other, Expires: both.Expires}
	for name, tt := range map[string]struct {
		steps []step
		want  schemas.Truth
		// overdue is whether an open exception says that it is past its end.
		overdue bool
	}{
		"not due":                           {[]step{{30 * time.Minute, read}}, schemas.Unknown, false},
		"nobody has read it since":          {nil, schemas.Unknown, false},
		"taken away":                        {[]step{{2 * time.Hour, taken}}, schemas.True, false},
		"taken away late":                   {[]step{{48 * time.Hour, taken}}, schemas.False, false},
		"a read shows it afterwards":        {[]step{{48 * time.Hour, read}}, schemas.False, true},
		"its removal is held":               {[]step{{48 * time.Hour, []schemas.Record{held("h", schemas.HoldAdd, off), end("h", "v", nil)}}}, schemas.False, true},
		"its removal fails":                 {[]step{{48 * time.Hour, []schemas.Record{intent("h", off), outcome("h", off, statusFailed), verified("h", off, statusDiffers), end("h", "v", nil)}}}, schemas.False, true},
		"an incomplete read proves nothing": {[]step{{48 * time.Hour, []schemas.Record{end("e", "v", map[string]int{countIncomplete: 1})}}}, schemas.Unknown, true},
		"taken by hand before its end":      {[]step{{30 * time.Minute, []schemas.Record{seen(schemas.SightingMissing, false)}}, {48 * time.Hour, []schemas.Record{adopted(gone)}}}, schemas.True, false},
		"taken by hand, found out late":     {[]step{{48 * time.Hour, []schemas.Record{adopted(gone)}}}, schemas.Unknown, false},
		"taken by hand, after a late read":  {[]step{{48 * time.Hour, read}, {60 * time.Hour, []schemas.Record{adopted(gone)}}}, schemas.False, false},
		"taken and given back by hand before its end, and still there": {[]step{{20 * time.Minute, []schemas.Record{seen(schemas.SightingMissing, false)}},
			{40 * time.Minute, []schemas.Record{seen(schemas.SightingMissing, true)}}, {48 * time.Hour, read}}, schemas.False, true},
		"taken by hand, and given again by a run": {[]step{{20 * time.Minute, []schemas.Record{intent("g", again), outcome("g", again, statusApplied), verified("g", again, statusVerified, wanted)}}, {2 * time.Hour, taken}}, schemas.True, false},
		"ended, and given back by hand":           {[]step{{2 * time.Hour, taken}, {48 * time.Hour, []schemas.Record{seen(schemas.SightingReturned, false)}}}, schemas.True, false},
		"extended by a second request":            {[]step{{30 * time.Minute, []schemas.Record{adopted(both)}}, {2 * time.Hour, []schemas.Record{adopted(onlySecond)}}, {48 * time.Hour, read}}, schemas.Unknown, false},
		"extended, and ended with that":           {[]step{{30 * time.Minute, []schemas.Record{adopted(both)}}, {2 * time.Hour, []schemas.Record{adopted(onlySecond)}}, {201 * time.Hour, taken}}, schemas.Unknown, false},
		"its role was deleted in time":            {[]step{{30 * time.Minute, []schemas.Record{intent("d", deletion), outcome("d", deletion, statusApplied), verified("d", deletion, statusVerified)}}, {48 * time.Hour, read}}, schemas.True, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, c := temp(t)
			appendTo(t, l, reviewed("c1", at, request("r.yaml", "b1", "r", "Quarterly dashboards")), reviewed("c2", at, request("second.yaml", "b2", "s", "Longer than planned")),
				intent("r", grant), outcome("r", grant, statusApplied), verified("r", grant, statusVerified, wanted), end("r", "v", nil))
			for _, s := range tt.steps {
				c.Set(at.Add(s.after))
				appendTo(t, l, timed(at.Add(s.after), s.records)...)
			}
			rows, m := export(t, l, ExportOptions{})
			r := rows[slices.IndexFunc(rows, func(r schemas.AuditRow) bool { return r.Operation == "a" })]
			if r.ExpiredInTime != tt.want {
				t.Errorf("expired_in_time is %s, want %s (ended %v, %s)", r.ExpiredInTime, tt.want, r.EndedAt, r.EndedHow)
			}
			overdue := false
			for _, x := range m.Exceptions {
				overdue = overdue || x.Kind == schemas.ExceptionOverdue && x.Open
			}
			if overdue != tt.overdue {
				t.Errorf("an open exception about its end: %v, want %v", overdue, tt.overdue)
			}
		})
	}
}

// timed returns the records with the times of outcomes and reads.
func timed(at time.Time, records []schemas.Record) []schemas.Record {
	out := slices.Clone(records)
	for i := range out {
		if o := out[i].Outcome; o != nil {
			one := *o
			one.Started, one.Finished = at, at
			out[i].Outcome = &one
		}
		if o := out[i].Observation; o != nil {
			one := *o
			one.ReadAt = at
			out[i].Observation = &one
		}
	}
	return out
}
