package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

// JSON writes v indented by two spaces, without HTML escapes and with a line feed at the end. Reports get their
// apiVersion and kind where they lack one, and lists that are empty are [] and not null; v itself is not
// changed. Characters that a terminal would act on are written as \u escapes, which mean the same.
func JSON(w io.Writer, v schemas.Output) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(filled(v)); err != nil {
		return fmt.Errorf("encode %T: %w", v, err)
	}
	return write(w, string(visible(b.Bytes())))
}

// visible escapes what Safe would escape. Outside strings JSON has none of it.
func visible(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		r, size := utf8.DecodeRune(raw)
		switch {
		case r < 0x7f || !layout.Hidden(r):
			out = append(out, raw[:size]...)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		raw = raw[size:]
	}
	return out
}

// filled is a copy of a report with apiVersion, kind and no null for a list.
func filled(v schemas.Output) schemas.Output {
	switch v := v.(type) {
	case *schemas.Preview:
		c := *v
		head(&c.APIVersion, &c.Kind, "Preview")
		nonNil(&c.Files)
		nonNil(&c.Errors)
		nonNil(&c.Gained)
		nonNil(&c.Lost)
		nonNil(&c.Unmet)
		c.Plan = *plan(&c.Plan)
		if c.Drift != nil {
			c.Drift = applications(c.Drift)
		}
		c.Decision, c.Evidence = decision(c.Decision), evidence(c.Evidence)
		return &c
	case *schemas.RunReport:
		c := *v
		head(&c.APIVersion, &c.Kind, "Apply")
		admissions := make([]schemas.AdmissionRecord, len(c.Admissions))
		for i, a := range c.Admissions {
			a.Decision, a.Evidence = decision(a.Decision), evidence(a.Evidence)
			admissions[i] = a
		}
		c.Admissions = admissions
		nonNil(&c.Quarantined)
		outcomes := make([]schemas.ApplicationOutcome, len(c.Applications))
		for i, a := range c.Applications {
			nonNil(&a.Plan.Operations)
			nonNil(&a.Outcomes)
			nonNil(&a.Verifications)
			outcomes[i] = a
		}
		c.Applications = outcomes
		return &c
	case *schemas.StatusReport:
		c := *v
		head(&c.APIVersion, &c.Kind, "Status")
		nonNil(&c.Requests)
		nonNil(&c.Quarantined)
		nonNil(&c.Ledger.Witnesses)
		return &c
	case *schemas.AccessReport:
		c := *v
		head(&c.APIVersion, &c.Kind, "Access")
		entries := make([]schemas.AccessEntry, len(c.Entries))
		for i, e := range c.Entries {
			nonNil(&e.Steps)
			entries[i] = e
		}
		c.Entries = entries
		return &c
	case *schemas.DoctorReport:
		c := *v
		head(&c.APIVersion, &c.Kind, "Doctor")
		nonNil(&c.Checks)
		return &c
	case *schemas.ValidateReport:
		c := *v
		head(&c.APIVersion, &c.Kind, "Validate")
		nonNil(&c.Errors)
		return &c
	case *schemas.ConnectorList:
		c := *v
		head(&c.APIVersion, &c.Kind, "Connectors")
		c.Connectors = slices.Clone(c.Connectors)
		nonNil(&c.Connectors)
		for i := range c.Connectors {
			nonNil(&c.Connectors[i].Types)
		}
		return &c
	case *schemas.ConnectorReport:
		c := *v
		head(&c.APIVersion, &c.Kind, "Connector")
		nonNil(&c.Types)
		return &c
	case *schemas.VersionReport:
		c := *v
		head(&c.APIVersion, &c.Kind, "Version")
		return &c
	case *schemas.PolicyRules:
		c := *v
		head(&c.APIVersion, &c.Kind, "PolicyRules")
		nonNil(&c.Rules)
		return &c
	case *schemas.PolicyTestReport:
		c := *v
		head(&c.APIVersion, &c.Kind, "PolicyTest")
		nonNil(&c.Results)
		return &c
	case *schemas.AuditVerification:
		c := *v
		head(&c.APIVersion, &c.Kind, "AuditVerify")
		nonNil(&c.Problems)
		nonNil(&c.Trust.Witnesses)
		return &c
	case *schemas.AuditEntitlements:
		c := *v
		head(&c.APIVersion, &c.Kind, "AuditEntitlements")
		nonNil(&c.Entitlements)
		return &c
	case *schemas.Plan:
		return plan(v)
	case *schemas.Decision:
		return decision(v)
	}
	return v
}

func head(version, kind *string, k string) {
	if *version == "" {
		*version = schemas.APIVersion
	}
	if *kind == "" {
		*kind = k
	}
}

func nonNil[T any](s *[]T) {
	if *s == nil {
		*s = []T{}
	}
}

func plan(p *schemas.Plan) *schemas.Plan {
	c := *p
	if c.APIVersion == "" {
		c.APIVersion = schemas.APIVersion
	}
	c.Applications = applications(c.Applications)
	return &c
}

func applications(list []schemas.ApplicationPlan) []schemas.ApplicationPlan {
	out := make([]schemas.ApplicationPlan, len(list))
	for i, a := range list {
		nonNil(&a.Operations)
		out[i] = a
	}
	return out
}

func decision(d *schemas.Decision) *schemas.Decision {
	if d == nil {
		return nil
	}
	c := *d
	if c.APIVersion == "" {
		c.APIVersion = schemas.APIVersion
	}
	nonNil(&c.Denials)
	nonNil(&c.Warnings)
	nonNil(&c.Required)
	return &c
}

func evidence(e *schemas.Evidence) *schemas.Evidence {
	if e == nil {
		return nil
	}
	c := *e
	nonNil(&c.Authors)
	nonNil(&c.Approvals)
	return &c
}
