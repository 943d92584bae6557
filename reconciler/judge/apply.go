package judge

import (
	"context"
	"reflect"
	"slices"

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
	places := f.places(sequence)
	next := &index.File{Path: f.path, Class: string(f.class), Admitted: f.after, Raw: f.after, Place: place}
	if slices.ContainsFunc(places, func(p int) bool { return p != place }) {
		next.Places = places
	}
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
		if was != nil && is != nil && reflect.DeepEqual(was, is) {
			continue
		}
		if was != nil {
			k := index.ConnectionKey{Application: was.Application, Name: was.Connection.Name()}
			seeds[k] = true
			at := place
			if f.was != nil && f.before != "" {
				at = f.was.PlaceOf(i)
			}
			if err := e.head.SetVersion(ctx, k, schemas.Place{Commit: at, Path: f.path, Index: i}, nil, e.sequence); err != nil {
				return err
			}
		}
		if is != nil {
			k := index.ConnectionKey{Application: is.Application, Name: is.Connection.Name()}
			seeds[k] = true
			if err := e.head.SetVersion(ctx, k, schemas.Place{Commit: places[i], Path: f.path, Index: i}, &plan.Version{Blob: f.after, Request: is}, e.sequence); err != nil {
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

// places returns the commits of the file's documents in the merge order. An edited document keeps its place, and so does
// one that is found unchanged elsewhere in the file; a new one has the place of this commit.
func (f *file) places(sequence int) []int {
	out := make([]int, len(f.new))
	old := func(i int) int {
		if f.was == nil || f.before == "" {
			return sequence
		}
		return f.was.PlaceOf(i)
	}
	found, placed := make([]bool, len(f.old)), make([]bool, len(f.new))
	keep := func(i, j int) { out[i], found[j], placed[i] = old(j), true, true }
	same := func(i, j int) bool { return reflect.DeepEqual(f.old[j].Value, f.new[i].Value) }
	for i := range f.new {
		if i < len(f.old) && same(i, i) {
			keep(i, i)
		}
	}
	for i := range f.new {
		for j := 0; j < len(f.old) && !placed[i]; j++ {
			if !found[j] && same(i, j) {
				keep(i, j)
			}
		}
	}
	for i := range f.new {
		switch {
		case placed[i]:
		case i < len(f.old) && !found[i]:
			keep(i, i)
		default:
			out[i] = sequence
		}
	}
	return out
}

func control(f *file, d schemas.Document, sequence int) (index.Control, bool) {
	c := index.Control{ID: schemas.DocumentID{Path: f.path, Index: d.Index, Blob: f.after}, Kind: d.Kind, Commit: sequence}
	v, ok := d.Value.(schemas.Control)
	if !ok {
		return c, false
	}
	schemas.VisitControl(v,
		func(v *schemas.AdmissionSpec) { c.Admission = v },
		func(v *schemas.BudgetOverrideSpec) { c.BudgetOverride = v },
		func(v *schemas.AcknowledgementSpec) { c.Acknowledgement = v })
	return c, true
}
