package run

import (
	"slices"

	"github.com/countersign/countersign/schemas"
)

// Code is the exit code of a run.
type Code int

// The exit codes. If several apply, CodeOf returns the first of CodeError, CodeDenied, CodeSignoff, CodePart and
// CodeDifference.
const (
	CodeDone       Code = 0 // as approved, and nothing pending
	CodeError      Code = 1 // no application could be read or changed
	CodeDifference Code = 2 // a read-only run found a difference
	CodeDenied     Code = 3 // policy denied a commit that was judged now
	CodeSignoff    Code = 4 // a commit that was judged now lacks sign-off
	CodePart       Code = 5 // not everything approved is in effect
)

// CodeOf decides the exit code of a run. It is the only place that does. With difference, a read-only run returns
// CodeDifference where applications differ from the approved state.
//
//	                                         a run that writes    a read-only run
//	no application could be processed        CodeError            CodeError
//	some could not be read or finished       CodePart             CodePart
//	a finding of severity error              CodePart             CodePart
//	an operation failed, or wasn't tried     CodePart             –
//	read back: differs, no effect, unknown   CodePart             –
//	held, or remains after the read-back     CodePart             CodeDifference
//	waits for somebody outside               CodePart             CodeDifference
//	an expired grant is still in place       CodePart             CodeDifference
//
// A start that lies ahead isn't a difference, and neither is unmanaged access that is only reported, nor a commit
// that was quarantined earlier.
func CodeOf(r *schemas.RunReport, difference bool) Code {
	readOnly := r.DryRun || r.Kind == "Drift" && !r.Enforce
	broken, part, differs, worked := 0, false, false, false
	for i := range r.Applications {
		a := &r.Applications[i]
		if a.Error != "" || a.Plan.Incomplete != "" {
			broken++
		}
		worked = worked || len(a.Outcomes) > 0
		part = part || failed(a) || hasError(a.Plan.Findings)
		differs = differs || open(a, readOnly)
	}
	switch admission := codeOfAdmissions(r.Admissions); {
	case broken > 0 && broken == len(r.Applications) && !worked:
		return CodeError
	case admission != CodeDone:
		return admission
	case broken > 0 || part || differs && !readOnly:
		return CodePart
	case differs && difference:
		return CodeDifference
	}
	return CodeDone
}

func codeOfAdmissions(admissions []schemas.AdmissionRecord) Code {
	code := CodeDone
	for _, v := range admissions {
		switch {
		case v.Verdict != schemas.AdmissionQuarantined:
		case v.Decision != nil && len(v.Decision.Denials) > 0:
			return CodeDenied
		default:
			code = CodeSignoff
		}
	}
	return code
}

// results is what is known of each operation of a pass: its last outcome and read-back.
func results(a *schemas.ApplicationOutcome) (outcomes map[string]schemas.OutcomeStatus, shown map[string]schemas.VerificationState) {
	outcomes, shown = map[string]schemas.OutcomeStatus{}, map[string]schemas.VerificationState{}
	for _, o := range a.Outcomes {
		outcomes[o.Operation] = o.Status
	}
	for _, v := range a.Verifications {
		shown[v.Operation] = v.Status
	}
	return outcomes, shown
}

// inEffect reports whether a read-back shows the effect, or somebody entitled attests it where nothing can be read.
func inEffect(v schemas.VerificationState) bool {
	return v == schemas.VerificationVerified || v == schemas.VerificationInPlace || v == schemas.VerificationAttested
}

// failed reports whether an operation failed or has another effect than intended. One that a read-back shows in effect
// didn't fail, whatever the application answered.
func failed(a *schemas.ApplicationOutcome) bool {
	outcomes, shown := results(a)
	for id, s := range outcomes {
		switch s {
		case schemas.OutcomeApplied, schemas.OutcomePending, schemas.OutcomeWithdrawn:
		default:
			if !inEffect(shown[id]) {
				return true
			}
		}
	}
	for _, v := range shown {
		if v != schemas.VerificationPending && !inEffect(v) {
			return true
		}
	}
	return false
}

// open reports whether something is left to do: by a later run, by somebody outside, or by the owners.
func open(a *schemas.ApplicationOutcome, readOnly bool) bool {
	if a.Remaining > 0 || len(a.Plan.Pending) > 0 || len(a.Plan.Overdue) > 0 {
		return true
	}
	if readOnly {
		return len(a.Plan.Operations) > 0
	}
	outcomes, shown := results(a)
	for id, s := range outcomes {
		if s == schemas.OutcomePending && !inEffect(shown[id]) {
			return true
		}
	}
	for _, v := range shown {
		if v == schemas.VerificationPending {
			return true
		}
	}
	for _, o := range a.Plan.Operations {
		if !inEffect(shown[o.ID]) {
			return true
		}
	}
	return false
}

func hasError(findings []schemas.Finding) bool {
	return slices.ContainsFunc(findings, func(f schemas.Finding) bool { return f.Severity == schemas.SeverityError })
}
