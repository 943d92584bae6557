package audit

import "github.com/countersign/countersign/schemas"

func describeRow(r *schemas.AuditRow, o *schemas.Operation) {
	r.Connection, r.ConnectionID, r.Kind, r.Cause, r.TargetID = o.Connection.String(), o.NativeID, o.Kind, o.Cause, o.TargetID
	r.Privilege, r.Privileged, r.Expires, r.Hold, r.HoldReason = o.Privilege, o.Privileged, o.Expires, o.Hold, o.HoldReason
	if o.Target != nil {
		r.Target = o.Target.String()
	}
	r.Documents = o.Documents
	if n := len(o.Documents); n > 0 {
		d := o.Documents[n-1]
		r.RequestPath, r.RequestIndex, r.RequestBlob = d.Path, d.Index, d.Blob
	}
	r.LiveBeforeApproval = schemas.Unknown
	if o.Kind == schemas.OperationGrant || o.Kind == schemas.OperationCreate {
		r.LiveBeforeApproval = schemas.False // a plan has it where a read showed that it was not there
	}
}

func runRow(r *schemas.AuditRow, info *schemas.RunRecord) {
	if info != nil {
		r.Version, r.Connector, r.Credential, r.RunPlanDigest, r.LiveDigest = info.Version, info.Connector, info.Credential, info.PlanDigest, info.LiveDigest
	}
}

func requestRow(r *schemas.AuditRow, q schemas.RequestInfo) {
	r.RequestKind, r.RequestName, r.Reason, r.Ticket = q.Kind, q.Metadata.Name, q.Metadata.Reason, q.Metadata.Ticket
}

func authoriseRow(r *schemas.AuditRow, a *admitted) {
	if a == nil {
		return
	}
	r.AdmissionSeq, r.AdmissionHash = a.sequence, a.hash
	r.MergeCommit, r.Verdict, r.Reasons, r.PlanDigest, r.Unmet = a.record.Commit, a.record.Verdict, a.record.Reasons, a.record.PlanDigest, a.record.Unmet
	if a.record.Rationale != nil {
		r.ChangeReason = *a.record.Rationale
	}
	if e := a.record.Evidence; e != nil {
		r.Requesters, r.Unattributed, r.Beneficiaries, r.Approvals, r.Forge = e.Authors, e.Unattributed, e.Beneficiaries, e.Approvals, e.Forge
		r.PullRequest, r.PullRequestURL, r.PullRequestTitle, r.HeadCommit = e.PullRequest, e.URL, e.Title, e.Head
		r.ContentDigest, r.PreviewDigest, r.PreviewAt, r.MergedAt, r.MergedBy = e.ContentDigest, e.PreviewDigest, e.PreviewAt, e.MergedAt, e.MergedBy
	}
	if p := a.record.Decision; p != nil {
		r.Required, r.Denials, r.Warnings = p.Required, p.Denials, p.Warnings
		r.PolicyBundle, r.PolicyEngine, r.PolicyRules = p.Bundle, p.Engine, p.Rules
	}
}
