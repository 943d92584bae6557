package reconciler

import (
	"context"
	"errors"

	"github.com/countersign/countersign/reconciler/judge"
	"github.com/countersign/countersign/schemas"
)

// Configuration holds the settings and applications of the admitted tree at a revision.
type Configuration struct {
	Settings     schemas.SettingsSpec
	Applications []*schemas.Application // sorted by name
}

// Configuration reads the settings and applications admitted at a revision.
func (r *Reconciler) Configuration(ctx context.Context, to string) (_ *Configuration, err error) {
	b, err := r.open(ctx, to, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	c := &Configuration{Settings: b.admitted.Trust.Settings.Spec}
	for _, name := range b.admitted.Trust.Names() {
		c.Applications = append(c.Applications, b.admitted.Trust.Applications[name])
	}
	return c, nil
}

// AdmittedBy is the latest verdict on record about a pull request; nil for none.
func (r *Reconciler) AdmittedBy(ctx context.Context, pull int) (_ *schemas.AdmissionRecord, err error) {
	l, err := r.openLedger(ctx, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	var found *schemas.AdmissionRecord
	err = l.Admissions(ctx, func(a schemas.AdmissionRecord) error {
		if a.Verdict == judge.VerdictAdmitted && a.Evidence != nil && a.Evidence.PullRequest == pull {
			found = &a
		}
		return nil
	})
	return found, err
}
