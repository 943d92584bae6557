package index

import (
	"context"
	"maps"
	"slices"

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// File is a control file that is admitted, quarantined, or admitted in another version than the branch has.
type File struct {
	Path  string `json:"path"`
	Class string `json:"class"`
	// Admitted is the blob that holds, "" for none; Raw is the blob on the branch, "" for none.
	Admitted string `json:"admitted,omitempty"`
	Raw      string `json:"raw,omitempty"`
	// Place is the sequence of the commit whose addition of the file was admitted.
	Place int `json:"place"`
	// Places are the commits of the file's documents in the merge order, by index: a document that was appended later
	// has the commit that appended it. It is nil while all have Place.
	Places []int `json:"places,omitempty"`
	// Commit is the last commit that changed the admitted version; Quarantine the one that was not admitted.
	Commit     string   `json:"commit,omitempty"`
	Quarantine string   `json:"quarantine,omitempty"`
	Reasons    []string `json:"reasons,omitempty"`
}

// Quarantined reports whether the branch has something else than what holds.
func (f *File) Quarantined() bool { return f.Admitted != f.Raw }

// PlaceOf returns the commit of the document at an index in the merge order.
func (f *File) PlaceOf(i int) int {
	if i < len(f.Places) {
		return f.Places[i]
	}
	return f.Place
}

// Control is an admitted Admission, BudgetOverride or Acknowledgement in force.
type Control struct {
	ID   schemas.DocumentID `json:"id"`
	Kind schemas.Kind       `json:"kind"`
	// Commit is the sequence of the commit that brought it.
	Commit          int                          `json:"commit"`
	Admission       *schemas.AdmissionSpec       `json:"admission,omitempty"`
	BudgetOverride  *schemas.BudgetOverrideSpec  `json:"budget_override,omitempty"`
	Acknowledgement *schemas.AcknowledgementSpec `json:"acknowledgement,omitempty"`
}

// ConnectionKey names a connection across applications.
type ConnectionKey struct {
	Application string
	Name        schemas.Name
}

// Compare orders keys by application, then name.
func (k ConnectionKey) Compare(o ConnectionKey) int {
	if k.Application != o.Application {
		if k.Application < o.Application {
			return -1
		}
		return 1
	}
	return k.Name.Compare(o.Name)
}

// Layer is the index, or a set of changes over one. A fork reads through to what is below it and keeps its
// own writes until Merge. It is not safe for concurrent use. Returned values belong to it: do not change them.
type Layer struct {
	below     *Layer
	store     *store // only at the bottom; nil in memory
	files     map[string]*File
	documents map[ConnectionKey][]*plan.Document
	mentions  map[ConnectionKey]map[schemas.Name]bool
	controls  map[string][]Control // by path
	// The layer's own writes since it was saved.
	dirtyFiles    map[string]bool
	dirtyConns    map[ConnectionKey]bool
	dirtyControls map[string]bool
	newMentions   map[ConnectionKey][]schemas.Name
}

func newLayer(below *Layer) *Layer {
	l := &Layer{
		below: below, files: map[string]*File{}, documents: map[ConnectionKey][]*plan.Document{},
		mentions: map[ConnectionKey]map[schemas.Name]bool{}, controls: map[string][]Control{},
	}
	l.clean()
	return l
}

// clean forgets what is new.
func (l *Layer) clean() {
	l.dirtyFiles, l.dirtyConns, l.dirtyControls = map[string]bool{}, map[ConnectionKey]bool{}, map[string]bool{}
	l.newMentions = map[ConnectionKey][]schemas.Name{}
}

// file is what of the layer has to be asked of its file; nil when there is nothing more to learn there.
func (l *Layer) file() *store {
	if l.store == nil || l.store.whole {
		return nil
	}
	return l.store
}

// Fork returns a layer of changes over this one.
func (l *Layer) Fork() *Layer { return newLayer(l) }

// Merge writes the layer's changes to the one below.
func (l *Layer) Merge() { l.MergeInto(l.below) }

// MergeInto writes the layer's changes to another layer, which has to be of the content that the layer was
// forked from.
func (l *Layer) MergeInto(b *Layer) {
	for p := range l.dirtyFiles {
		b.files[p] = l.files[p]
		b.dirtyFiles[p] = true
	}
	for k := range l.dirtyConns {
		b.documents[k] = l.documents[k]
		b.dirtyConns[k] = true
	}
	for k, names := range l.newMentions {
		for _, n := range names {
			b.Mention(k, n)
		}
	}
	for p := range l.dirtyControls {
		b.SetControls(p, l.controls[p])
	}
}

// File returns the control file at a path; nil when there is none.
func (l *Layer) File(ctx context.Context, path string) (*File, error) {
	for at := l; at != nil; at = at.below {
		if f, ok := at.files[path]; ok {
			return f, nil
		}
		if s := at.file(); s != nil {
			f, err := s.file(ctx, path)
			if err == nil {
				at.files[path] = f
			}
			return f, err
		}
	}
	return nil, nil
}

// SetFile replaces the control file at f.Path. One that is neither in force nor on the branch is gone.
func (l *Layer) SetFile(f *File) {
	l.dirtyFiles[f.Path] = true
	l.files[f.Path] = f
	if f.Admitted == "" && f.Raw == "" {
		l.files[f.Path] = nil
	}
}

// Files returns the control files of the classes, sorted by path; of all classes but requests when none is named.
func (l *Layer) Files(ctx context.Context, classes ...string) ([]*File, error) {
	want := func(c string) bool {
		if len(classes) == 0 {
			return c != ClassRequest
		}
		return slices.Contains(classes, c)
	}
	all := map[string]*File{}
	if err := l.eachLayer(func(at *Layer) error {
		if s := at.file(); s != nil {
			if err := s.files(ctx, classes, func(f *File) { all[f.Path] = f }); err != nil {
				return err
			}
		}
		maps.Copy(all, at.files)
		return nil
	}); err != nil {
		return nil, err
	}
	return filesOf(all, want), nil
}

// QuarantinedFiles returns the files whose content on the branch is quarantined, sorted by path.
func (l *Layer) QuarantinedFiles(ctx context.Context) ([]*File, error) {
	all := map[string]*File{}
	if err := l.eachLayer(func(at *Layer) error {
		if s := at.file(); s != nil {
			if err := s.quarantined(ctx, func(f *File) { all[f.Path] = f }); err != nil {
				return err
			}
		}
		maps.Copy(all, at.files)
		return nil
	}); err != nil {
		return nil, err
	}
	for p, f := range all {
		if f != nil && !f.Quarantined() {
			delete(all, p)
		}
	}
	return filesOf(all, func(string) bool { return true }), nil
}

// Quarantined returns the QuarantinedFiles as reports have them.
func (l *Layer) Quarantined(ctx context.Context) ([]schemas.QuarantinedFile, error) {
	files, err := l.QuarantinedFiles(ctx)
	if err != nil {
		return nil, err
	}
	out := []schemas.QuarantinedFile{}
	for _, f := range files {
		out = append(out, schemas.QuarantinedFile{Path: f.Path, Blob: f.Raw, Admitted: f.Admitted, Commit: f.Quarantine, Reasons: f.Reasons})
	}
	return out, nil
}

func filesOf(all map[string]*File, want func(class string) bool) []*File {
	var out []*File
	for _, p := range slices.Sorted(maps.Keys(all)) {
		if f := all[p]; f != nil && want(f.Class) {
			out = append(out, f)
		}
	}
	return out
}

// eachLayer visits the layers from the bottom.
func (l *Layer) eachLayer(fn func(*Layer) error) error {
	if l.below != nil {
		if err := l.below.eachLayer(fn); err != nil {
			return err
		}
	}
	return fn(l)
}

// ClassRequest is the class of request files; the others are few.
const ClassRequest = "request"

// Documents returns a connection's documents, in merge order.
func (l *Layer) Documents(ctx context.Context, k ConnectionKey) ([]*plan.Document, error) {
	for at := l; at != nil; at = at.below {
		if d, ok := at.documents[k]; ok {
			return d, nil
		}
		if s := at.file(); s != nil {
			d, err := s.documents(ctx, k)
			if err == nil {
				at.documents[k] = d
			}
			return d, err
		}
	}
	return nil, nil
}

// SetDocuments replaces a connection's documents and notes what they mention.
func (l *Layer) SetDocuments(k ConnectionKey, docs []*plan.Document) {
	l.documents[k] = docs
	l.dirtyConns[k] = true
}

// SetVersion sets the current version of the document at a place of one connection; nil undoes it. The version before
// is kept as a former one, until the sequence.
func (l *Layer) SetVersion(ctx context.Context, k ConnectionKey, at schemas.Place, v *plan.Version, sequence int) error {
	docs, err := l.Documents(ctx, k)
	if err != nil {
		return err
	}
	docs = slices.Clone(docs)
	i := slices.IndexFunc(docs, func(d *plan.Document) bool { return d.Place == at })
	if i < 0 {
		if v != nil {
			docs = append(docs, &plan.Document{Place: at, Current: v})
			slices.SortFunc(docs, func(a, b *plan.Document) int { return a.Place.Compare(b.Place) })
			l.SetDocuments(k, docs)
		}
		return nil
	}
	d := *docs[i]
	if d.Current != nil {
		former := *d.Current
		former.Until = sequence
		d.Former = append(slices.Clone(d.Former), &former)
	}
	d.Current = v
	docs[i] = &d
	l.SetDocuments(k, docs)
	return nil
}

// Mention notes that documents of k name the target. It is never forgotten: one too many costs a look.
func (l *Layer) Mention(k ConnectionKey, target schemas.Name) {
	t := ConnectionKey{k.Application, target}
	m := l.mentions[t]
	if m == nil {
		m = map[schemas.Name]bool{}
		l.mentions[t] = m
	}
	if !m[k.Name] {
		m[k.Name] = true
		l.newMentions[k] = append(l.newMentions[k], target)
	}
}

// Mentioning returns the connections whose documents name the target, sorted.
func (l *Layer) Mentioning(ctx context.Context, target ConnectionKey) ([]schemas.Name, error) {
	all := map[schemas.Name]bool{}
	if err := l.eachLayer(func(at *Layer) error {
		if s := at.file(); s != nil {
			names, err := s.mentioning(ctx, target)
			if err != nil {
				return err
			}
			for _, n := range names {
				all[n] = true
			}
		}
		maps.Copy(all, at.mentions[target])
		return nil
	}); err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Keys(all), schemas.Name.Compare), nil
}

// All returns all documents of an application, by connection.
func (l *Layer) All(ctx context.Context, application string) ([]*plan.Document, error) {
	all := map[schemas.Name][]*plan.Document{}
	if err := l.eachLayer(func(at *Layer) error {
		if s := at.file(); s != nil {
			if err := s.all(ctx, application, func(n schemas.Name, d []*plan.Document) { all[n] = d }); err != nil {
				return err
			}
		}
		for k, d := range at.documents {
			if k.Application == application {
				all[k.Name] = d
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	var out []*plan.Document
	for _, n := range slices.SortedFunc(maps.Keys(all), schemas.Name.Compare) {
		out = append(out, all[n]...)
	}
	return out, nil
}

// Controls returns the standing control documents, sorted by place.
func (l *Layer) Controls(ctx context.Context) ([]Control, error) {
	all := map[string][]Control{}
	if err := l.eachLayer(func(at *Layer) error {
		if s := at.file(); s != nil {
			if err := s.controls(ctx, all); err != nil {
				return err
			}
		}
		maps.Copy(all, at.controls)
		return nil
	}); err != nil {
		return nil, err
	}
	var out []Control
	for _, p := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[p]...)
	}
	slices.SortStableFunc(out, func(a, b Control) int { return a.Commit - b.Commit })
	return out, nil
}

// SetControls replaces the control documents of a file.
func (l *Layer) SetControls(path string, list []Control) {
	l.controls[path] = list
	l.dirtyControls[path] = true
}

// Touched are the files that the layer itself writes and that are in force, for their writer to complete before
// Merge.
func (l *Layer) Touched() []*File {
	var out []*File
	for _, p := range slices.Sorted(maps.Keys(l.files)) {
		if f := l.files[p]; f != nil && l.dirtyFiles[p] {
			out = append(out, f)
		}
	}
	return out
}
