package reconciler

import (
	"reflect"

	"github.com/countersign/countersign/connectors/secrets"
	"github.com/countersign/countersign/schemas"
)

// clean takes the secrets of the run out of a report: an application may repeat them.
func clean[T any](r *Reconciler, report T) T {
	return secrets.Value(&r.config.Secrets.Redactor, report, nil)
}

// cleanRecord takes the secrets out of a record. What identifies stays: a record is found again by it, and a name that
// contains a weak password would otherwise be another name.
func (r *Reconciler) cleanRecord(record schemas.Record) schemas.Record {
	return secrets.Value(&r.config.Secrets.Redactor, record, identifies)
}

func identifies(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[schemas.Name](), reflect.TypeFor[schemas.Key](), reflect.TypeFor[schemas.DocumentID](), reflect.TypeFor[schemas.BaselineItem](), reflect.TypeFor[schemas.FileChange]():
		return true
	}
	return false
}
