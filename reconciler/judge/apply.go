package judge

import (
	"context"
	"reflect"

	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// apply writes a file's change to the head layer and adds the connections that it names to seeds.
func (e *Examination) apply(ctx context.Context, f *file, sequence int, seeds map[index.ConnectionKey]bool) error {
	place := sequence
	if f.was != nil && f.before != "" {
		place = f.was.Place
	}
	next := &index.File{Path: f.path, Class: string(f.class), Admitted: f.after, Raw: f.after, Place: place}
	e.head.SetFile(next)
	if f.class != schemas.ClassRequest {
		return nil
	}
	var controls []index.Control
	oldControls := false
	for i := range max(len(f.old), len(f.new)) {
		var was, is *schemas.Request
		if i < len(f.old) {
			was, _ = f.old[i].Value.(*schemas.Request)
			oldControls = oldControls || f.old[i].Kind.IsControl()
		}
		if i < len(f.new) {
			is, _ = f.new[i].Value.(*schemas.Request)
			if c, ok := control(f, f.new[i], sequence); ok {
				controls = append(controls, c)
			}
		}
		at := schemas.Place{Commit: place, Path: f.path, Index: i}
		if was != nil && is != nil && reflect.DeepEqual(was, is) {
			continue
		}
		if was != nil {
			k := index.ConnectionKey{Application: was.Application, Name: was.Connection.Name()}
			seeds[k] = true
			if err := e.head.SetVersion(ctx, k, at, nil, e.sequence); err != nil {
				return err
			}
		}
		if is != nil {
			k := index.ConnectionKey{Application: is.Application, Name: is.Connection.Name()}
			seeds[k] = true
			if err := e.head.SetVersion(ctx, k, at, &plan.Version{Blob: f.after, Request: is}, e.sequence); err != nil {
				return err
			}
			for _, list := range [][]schemas.Entry{is.Grants, is.Revokes} {
				for j := range list {
					e.head.Mention(k, list[j].Name())
				}
			}
		}
	}
	if oldControls || len(controls) > 0 {
		e.head.SetControls(f.path, controls)
	}
	return nil
}

func control(f *file, d schemas.Document, sequence int) (index.Control, bool) {
	c := index.Control{ID: schemas.DocumentID{Path: f.path, Index: d.Index, Blob: f.after}, Kind: d.Kind, Commit: sequence}
	switch v := d.Value.(type) {
	case *schemas.AdmissionSpec:
		c.Admission = v
	case *schemas.BudgetOverrideSpec:
		c.BudgetOverride = v
	case *schemas.AcknowledgementSpec:
		c.Acknowledgement = v
	default:
		return c, false
	}
	return c, true
}
