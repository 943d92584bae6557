package report

import "github.com/countersign/countersign/schemas"

// fate is the result of an operation.
type fate uint8

// The fates, the most urgent first.
const (
	failed fate = iota
	blocked
	differs
	unverifiable
	cancelled
	untried
	waiting
	unconfirmed // applied, and no read-back yet
	held
	claimed // reported done by a webhook or ticket, not seen yet
	asked   // a webhook or ticket is open
	attested
	verified
	planned // a dry run or a report: nothing was to be done
)

func (f fate) line() line {
	switch f {
	case failed:
		return say("failed").In(bad)
	case blocked:
		return say("blocked").In(bad)
	case differs:
		return say("applied, but read back differently").In(bad)
	case unverifiable:
		return say("applied, could not be read back").In(caution)
	case cancelled:
		return say("cancelled").In(caution)
	case untried:
		return say("not tried").In(caution)
	case waiting:
		return say("applied, pending").In(caution)
	case unconfirmed:
		return say("applied, not verified").In(caution)
	case held:
		return say("held").In(caution)
	case claimed:
		return say("reported done, not seen yet").In(caution)
	case asked:
		return say("requested, pending").In(caution)
	case attested:
		return say("attested: reported done").In(good)
	case verified:
		return say("verified").In(good)
	}
	return nil
}

// outcome is an operation's fate, with the record that it comes from.
type outcome struct {
	fate   fate
	record *schemas.OutcomeRecord
}

// fates returns the result of each operation of a pass.
func fates(a *schemas.ApplicationOutcome, dry bool) map[string]outcome {
	out := map[string]outcome{}
	for i := range a.Plan.Operations {
		o := &a.Plan.Operations[i]
		switch {
		case o.Hold == schemas.HoldPending:
			out[o.ID] = outcome{fate: asked}
		case o.Hold != schemas.HoldNone:
			out[o.ID] = outcome{fate: held}
		case dry:
			out[o.ID] = outcome{fate: planned}
		default:
			out[o.ID] = outcome{fate: untried}
		}
	}
	for i := range a.Outcomes {
		r := &a.Outcomes[i] // of several attempts the last one counts
		f := failed
		switch r.Status {
		case "applied":
			f = unconfirmed
			if r.Fulfilment != nil {
				f = claimed
			}
		case "pending":
			f = asked
		case "blocked":
			f = blocked
		case "cancelled":
			f = cancelled
		}
		out[r.Operation] = outcome{f, r}
	}
	for _, v := range a.Verifications {
		o := out[v.Operation]
		if o.fate == failed || o.fate == blocked || o.fate == cancelled {
			if v.Status != schemas.VerificationVerified {
				continue // the failure is more specific
			}
		}
		if o.fate == asked {
			continue // it was requested again since
		}
		switch v.Status {
		case "verified":
			o.fate = verified
		case "attested":
			o.fate = attested
		case "pending":
			if o.fate != claimed {
				o.fate = waiting
			}
		case "differs":
			o.fate = differs
		default:
			o.fate = unverifiable
		}
		out[v.Operation] = o
	}
	return out
}

// advice maps an error's code to what to do about it.
func advice(code string) literal {
	switch code {
	case "not_found":
		return "something it needs was not found: check whether it was removed by hand"
	case "conflict":
		return "it changed in the meantime: run again"
	case "unsupported":
		return "the application can't do this: change the request"
	case "denied":
		return "grant the apply credential the rights listed by countersign schema CONNECTOR --scripts, then run again"
	case "invalid":
		return "the application rejects the value: correct it in a new request"
	case "unavailable":
		return "the next run retries"
	case "declined":
		return "ask the person or service that carries it out, or undo the request"
	case "blocked":
		return "it proceeds once the operations it depends on succeed"
	}
	return "fix the cause, then run again; only failed operations are retried"
}
