package index_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

func open(t testing.TB, path string) *index.Index {
	t.Helper()
	x, err := index.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func save(t testing.TB, x *index.Index) {
	t.Helper()
	if err := x.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func shut(t testing.TB, x *index.Index) {
	t.Helper()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}

// content is all that an index answers.
type content struct {
	Head        index.Head
	Files       []*index.File
	Few         []*index.File
	File        map[string]*index.File
	Quarantined []*index.File
	Documents   map[index.ConnectionKey][]*plan.Document
	All         map[string][]*plan.Document
	Mentioning  map[index.ConnectionKey][]schemas.Name
	Controls    []index.Control
	Verdicts    []schemas.AdmissionRecord
	Verdict     map[string]schemas.AdmissionRecord
}

// ask asks an index everything about the names that the tests use.
func ask(t testing.TB, x *index.Index) *content {
	t.Helper()
	c, err := tryAsk(t, x)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryAsk(t testing.TB, x *index.Index) (*content, error) {
	ctx := t.Context()
	c := &content{Head: x.Head, File: map[string]*index.File{}, Documents: map[index.ConnectionKey][]*plan.Document{},
		All: map[string][]*plan.Document{}, Mentioning: map[index.ConnectionKey][]schemas.Name{}, Verdict: map[string]schemas.AdmissionRecord{}}
	var err error
	if c.Files, err = x.Files(ctx, classes()...); err != nil {
		return nil, err
	}
	if c.Few, err = x.Files(ctx); err != nil {
		return nil, err
	}
	if c.Quarantined, err = x.QuarantinedFiles(ctx); err != nil {
		return nil, err
	}
	for _, p := range paths() {
		if c.File[p], err = x.File(ctx, p); err != nil {
			return nil, err
		}
	}
	for _, app := range applications() {
		if c.All[app], err = x.All(ctx, app); err != nil {
			return nil, err
		}
	}
	for _, k := range connectionKeys() {
		if c.Documents[k], err = x.Documents(ctx, k); err != nil {
			return nil, err
		}
		if c.Mentioning[k], err = x.Mentioning(ctx, k); err != nil {
			return nil, err
		}
	}
	if c.Controls, err = x.Controls(ctx); err != nil {
		return nil, err
	}
	err = x.EachVerdict(ctx, 0, func(r schemas.AdmissionRecord) error { c.Verdicts = append(c.Verdicts, r); return nil })
	if err != nil {
		return nil, err
	}
	for _, v := range c.Verdicts {
		r, ok, err := x.Verdict(ctx, v.Commit)
		if err != nil {
			return nil, err
		}
		if ok {
			c.Verdict[v.Commit] = r
		}
	}
	return c, nil
}

// same compares what two indexes answer. Numbers in payloads are the same however they are held, as the fold has it.
func same(want, got *content) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(time.Time{}),
		cmp.FilterValues(func(a, b any) bool { return number(a) && number(b) }, cmp.Comparer(func(a, b any) bool {
			x, errX := json.Marshal(a)
			y, errY := json.Marshal(b)
			return errX == nil && errY == nil && string(x) == string(y)
		})))
}

func number(v any) bool {
	switch v.(type) {
	case int, float64:
		return true
	}
	return false
}

func classes() []string      { return []string{index.ClassRequest, "settings", "application"} }
func applications() []string { return []string{"warehouse", "corp"} }

func paths() []string {
	return []string{"requests/a.yaml", "requests/b.yaml", "requests/é ü.yaml", "applications/warehouse.yaml", "countersign.yaml", "admissions/x.yaml"}
}

func connectionKeys() []index.ConnectionKey {
	var out []index.ConnectionKey
	for _, a := range applications() {
		for _, n := range []string{"sales", "Sales", "sales'; --", "größe"} {
			out = append(out, index.ConnectionKey{Application: a, Name: schemas.Name{Type: "role", SourceName: n}})
		}
		out = append(out, index.ConnectionKey{Application: a, Name: schemas.Name{Type: "user", SourceName: "sales"}})
	}
	return out
}

// writing is one change of an index, which may be made of several.
type writing func(*index.Layer)

// story is a history of commits, each with what it writes.
type story struct {
	r       *rapid.T
	commits []commit
}

type commit struct {
	head    index.Head
	writes  []writing
	verdict schemas.AdmissionRecord
	// fork means that the writes go to a fork that is merged; lost to one that is not.
	fork, lost bool
}

func (s *story) text(label string) string {
	return rapid.OneOf(rapid.SampledFrom([]string{"", "a", "\x00", "a\"b\\c", "naïve ✓", "{{x}}\n---\n"}), rapid.String()).Draw(s.r, label)
}

func (s *story) instant(label string) *time.Time {
	if rapid.Bool().Draw(s.r, label+" is given") {
		// Any instant that a request may hold: the years 1 to 9999.
		t := time.Unix(rapid.Int64Range(-62135596800, 253402300799).Draw(s.r, label), rapid.Int64Range(0, 999999999).Draw(s.r, label+" nanoseconds")).UTC()
		return &t
	}
	return nil
}

func (s *story) entries(label string) []schemas.Entry {
	var out []schemas.Entry
	for range rapid.IntRange(0, 3).Draw(s.r, label) {
		out = append(out, schemas.Entry{Type: s.text("type"), SourceName: s.text("name"), SourceID: s.text("id"),
			Privileges: rapid.SliceOfN(rapid.String(), 0, 3).Draw(s.r, "privileges"), Starts: s.instant("starts"), Expires: s.instant("expires")})
	}
	return out
}

func (s *story) payload() map[string]any {
	leaf := rapid.OneOf(rapid.Bool().AsAny(), rapid.String().AsAny(), rapid.IntRange(-1<<53, 1<<53).AsAny(), rapid.Float64Range(-1e9, 1e9).AsAny(), rapid.Just[any](nil))
	return rapid.OneOf(rapid.Just(map[string]any(nil)), rapid.Just(map[string]any{}), rapid.MapOfN(rapid.String(), leaf, 0, 3)).Draw(s.r, "payload")
}

func (s *story) version(until int) *plan.Version {
	return &plan.Version{Blob: s.text("blob"), Until: until, Request: &schemas.Request{
		Kind:        rapid.SampledFrom([]schemas.Kind{schemas.KindConnectionCreation, schemas.KindConnectionAssignment, schemas.KindConnectionDeletion}).Draw(s.r, "kind"),
		Metadata:    schemas.Metadata{Name: s.text("name"), Reason: s.text("reason"), Ticket: s.text("ticket")},
		Application: s.text("application"), Provisioning: schemas.Provisioning(s.text("provisioning")),
		Connection: schemas.ConnectionRef{Type: s.text("type"), SourceName: s.text("source name"), SourceID: s.text("source id")},
		Payload:    s.payload(), Grants: s.entries("grants"), Revokes: s.entries("revokes"), ReassignTo: s.text("reassign to")}}
}

func (s *story) documents(sequence int) []*plan.Document {
	var out []*plan.Document
	for i := range rapid.IntRange(0, 3).Draw(s.r, "documents") {
		d := &plan.Document{Place: schemas.Place{Commit: rapid.IntRange(0, sequence).Draw(s.r, "place"), Path: s.text("path"), Index: i}}
		for range rapid.IntRange(0, 2).Draw(s.r, "former") {
			d.Former = append(d.Former, s.version(rapid.IntRange(0, sequence).Draw(s.r, "until")))
		}
		if rapid.Bool().Draw(s.r, "stands") {
			d.Current = s.version(0)
		}
		out = append(out, d)
	}
	return out
}

func (s *story) write(sequence int) writing {
	key := rapid.SampledFrom(connectionKeys()).Draw(s.r, "connection")
	path := rapid.SampledFrom(paths()).Draw(s.r, "path")
	switch rapid.SampledFrom([]string{"file", "file", "documents", "documents", "mention", "controls"}).Draw(s.r, "write") {
	case "file":
		blob := rapid.SampledFrom([]string{"", "b1", "b2"})
		f := index.File{Path: path, Class: rapid.SampledFrom(classes()).Draw(s.r, "class"), Admitted: blob.Draw(s.r, "admitted"), Raw: blob.Draw(s.r, "raw"),
			Place: rapid.IntRange(0, sequence).Draw(s.r, "place"), Places: rapid.SliceOfN(rapid.IntRange(0, sequence), 0, 2).Draw(s.r, "places"), Commit: s.text("commit"), Quarantine: s.text("quarantine"),
			Reasons: rapid.SliceOfN(rapid.String(), 0, 2).Draw(s.r, "reasons")}
		return func(l *index.Layer) { g := f; l.SetFile(&g) }
	case "documents":
		docs := s.documents(sequence)
		return func(l *index.Layer) { l.SetDocuments(key, docs) }
	case "mention":
		target := rapid.SampledFrom(connectionKeys()).Draw(s.r, "target")
		return func(l *index.Layer) { l.Mention(key, target.Name) }
	}
	var list []index.Control
	for i := range rapid.IntRange(0, 2).Draw(s.r, "controls") {
		c := index.Control{ID: schemas.DocumentID{Path: path, Index: i, Blob: s.text("blob")}, Commit: rapid.IntRange(0, sequence).Draw(s.r, "commit")}
		switch i {
		case 0:
			c.Kind, c.Admission = schemas.KindAdmission, &schemas.AdmissionSpec{Path: s.text("path"), Blob: s.text("blob")}
		case 1:
			c.Kind, c.BudgetOverride = schemas.KindBudgetOverride, &schemas.BudgetOverrideSpec{Application: s.text("application"), Until: time.Unix(int64(sequence), 0).UTC()}
		}
		list = append(list, c)
	}
	return func(l *index.Layer) { l.SetControls(path, list) }
}

// tell draws a history.
func tell(r *rapid.T, atMost int) *story {
	s := &story{r: r}
	for i := range rapid.IntRange(1, atMost).Draw(r, "commits") {
		c := commit{head: index.Head{Tip: fmt.Sprintf("c%d", i), Sequence: i, Anchor: "c0", Instant: int64(1000 + i)}}
		for range rapid.IntRange(0, 5).Draw(r, "writes") {
			c.writes = append(c.writes, s.write(i))
		}
		c.fork = rapid.Bool().Draw(r, "fork")
		c.lost = c.fork && rapid.IntRange(0, 4).Draw(r, "lost") == 0
		c.verdict = schemas.AdmissionRecord{Commit: c.head.Tip, Sequence: i, Verdict: "admitted",
			Changes:  []schemas.FileChange{{Path: s.text("changed"), Before: "b1", After: "b2"}},
			Requests: []schemas.RequestInfo{{Document: schemas.DocumentID{Path: s.text("request"), Index: i}, Application: "corp"}}}
		s.commits = append(s.commits, c)
	}
	return s
}

func (c *commit) play(x *index.Index) {
	to := x.Layer
	if c.fork {
		to = x.Fork()
	}
	for _, w := range c.writes {
		w(to)
	}
	if c.fork && !c.lost {
		to.Merge()
	}
	x.Head = c.head
	x.Verdicts = append(x.Verdicts, c.verdict)
}

// What was saved is what is read again: in one piece or in pieces, with or without the file being opened anew
// in between, the index answers as one that never left memory.
func TestPropertySavedIsRead(t *testing.T) {
	t.Parallel()
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n), "index.db")
		memory, x := open(t, ""), open(t, path)
		defer func() { shut(t, x) }()
		same := func(when string) {
			if diff := same(ask(t, memory), ask(t, x)); diff != "" {
				r.Fatalf("%s (-memory +file):\n%s", when, diff)
			}
		}
		s := tell(r, 6)
		for i := range s.commits {
			c := &s.commits[i]
			c.play(memory)
			c.play(x)
			then := rapid.SampledFrom([]string{"go on", "go on", "save", "open anew", "ask"}).Draw(r, "then")
			if i == len(s.commits)-1 {
				then = "open anew"
			}
			switch then {
			case "save":
				save(t, x)
			case "open anew":
				save(t, x)
				shut(t, x)
				x = open(t, path)
			case "ask":
				same(fmt.Sprint("after commit ", i))
			}
		}
		same("in the end")
	})
}

// A request may be for ever, and for ever must not come back as long ago.
func TestInstants(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"0001-01-01T00:00:00Z", "1677-09-21T00:12:43Z", "1970-01-01T00:00:00Z", "2027-01-31T12:00:00.123456789Z",
		"2262-04-11T23:47:17Z", "9999-12-31T23:59:59.999999999Z"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			want, err := time.Parse(time.RFC3339Nano, at)
			if err != nil {
				t.Fatal(err)
			}
			k := connectionKeys()[0]
			path := filepath.Join(t.TempDir(), "index.db")
			x := open(t, path)
			x.Head = index.Head{Tip: "c0"}
			x.SetDocuments(k, []*plan.Document{{Current: &plan.Version{Request: &schemas.Request{Grants: []schemas.Entry{{Starts: &want, Expires: &want}}}}}})
			save(t, x)
			shut(t, x)
			x = open(t, path)
			defer shut(t, x)
			docs, err := x.Documents(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			if g := docs[0].Current.Request.Grants[0]; !g.Starts.Equal(want) || !g.Expires.Equal(want) {
				t.Errorf("read again, it is from %s to %s, want %s", g.Starts, g.Expires, want)
			}
		})
	}
}
