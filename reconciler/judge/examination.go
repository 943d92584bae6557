package judge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/excerpt"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// regularFile is the only allowed mode of a control file: not a link, executable or submodule.
const regularFile = 0o100644

const executableFile = 0o100755

// file is one control file of a change, as admitted and as the change leaves it.
type file struct {
	path   string
	class  schemas.FileClass
	was    *index.File // nil if it is not in the index
	before string      // the admitted blob, "" for none
	after  string      // "" for none
	old    []schemas.Document
	new    []schemas.Document
}

// Examination is a change and its meaning on top of the layer on which it was examined.
type Examination struct {
	// Digest is the SHA-256 (hex) over the changed control files, which is what reviewers approve.
	Digest string
	// Errors keep the change from being judged; Findings leave it judgeable.
	Errors, Findings []schemas.Finding
	// Conflicts are files that the base has also changed since the change forked from it.
	Conflicts []schemas.Finding
	// Changes are the effects on each application, without regard to live state.
	Changes map[string]plan.Change
	// Affected are the applications that the change touches, sorted; After has all applications as the change leaves them.
	Affected []string
	After    map[string]*schemas.Application

	base, head *index.Layer
	trust      *Trust
	sequence   int
	decoded    decodedFiles // files decoded in advance, may be nil
	files      []*file
	// changes are the control files that Git shows as changed, admitted or not.
	changes []history.Change
	// unread means that the change has too many files to be read.
	unread bool
	// restored are files whose content on the branch is again the admitted content.
	restored []*index.File
	// admits are the quarantined files that Admissions of this change admit.
	admits []schemas.FileChange
	// worlds are what the documents want before the change, as far as earlier changes asked, and then after it.
	worlds map[string]*excerpt.World
	// holders are what the people who gain something hold, if that was read already.
	holders *holders
	// desired is the desired state before and after the change, by application, as far as the change touches it.
	desired map[string][2]*plan.Desired
	// descriptions are the connectors' static descriptions, by affected application.
	descriptions map[string]schemas.Description
	// left counts the members that connections still have when they are deleted, by operation.
	left map[string]int
	// folded is the number of connections folded.
	folded int
	// settled is set for a change that has already taken effect: the anchor, or one with a verdict in the ledger.
	settled bool
	// fork is the commit where a proposed change forked from its base.
	fork string
}

// proposal is a change to examine.
type proposal struct {
	changes []history.Change
	decoded decodedFiles // files decoded in advance
	// sequence is the sequence of the commit that would bring the change; now is the time of the judgement.
	sequence int
	now      time.Time
	// known is set for a change that already has a verdict: its effect on access is not computed again.
	known bool
	// worlds are those before the change, nil for none. They are not changed.
	worlds map[string]*excerpt.World
}

// examine decodes the changed files and folds them over the base.
func (j *Judge) examine(ctx context.Context, base *index.Layer, t *Trust, in proposal) (*Examination, error) {
	e := &Examination{base: base, head: base.Fork(), trust: t, changes: in.changes, sequence: in.sequence, decoded: in.decoded, settled: in.known,
		Changes: map[string]plan.Change{}, desired: map[string][2]*plan.Desired{}, left: map[string]int{}, descriptions: map[string]schemas.Description{}}
	e.unread = !in.known && len(in.changes) > j.config.MaxFiles
	for _, c := range in.changes {
		if err := j.examineFile(ctx, e, c.Path, c.After); err != nil {
			return nil, err
		}
	}
	if e.unread {
		e.Errors = []schemas.Finding{{Code: "refused", Severity: schemas.SeverityError, Message: fmt.Sprintf("the change has %d control files (at most %d)", len(in.changes), j.config.MaxFiles),
			Fix: "split it; the operator can allow more with COUNTERSIGN_MAX_FILES"}}
	} else if err := j.admissions(ctx, e); err != nil {
		return nil, err
	}
	slices.SortFunc(e.files, func(a, b *file) int { return strings.Compare(a.path, b.path) })
	e.Digest = contentDigest(e.files)
	if len(e.Errors) > 0 {
		return e, nil
	}
	if err := j.checkConfiguration(ctx, e); err != nil {
		return nil, err
	}
	if len(e.Errors) > 0 {
		return e, nil
	}
	seeds := map[index.ConnectionKey]bool{}
	for _, f := range e.files {
		if err := e.apply(ctx, f, in.sequence, seeds); err != nil {
			return nil, err
		}
	}
	if in.known {
		return e, nil
	}
	e.worlds = in.worlds
	return e, j.between(ctx, e, seeds, in.now)
}

// contentDigest returns the SHA-256 (hex) over the changed control files' paths and blobs.
func contentDigest(files []*file) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%s\x00%s\x00%s\n", f.path, f.before, f.after)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (e *Examination) fail(p string, msg, fix string) {
	e.Errors = append(e.Errors, schemas.Finding{Code: "refused", Severity: schemas.SeverityError, Message: msg, Fix: fix,
		Position: schemas.Position{Path: p}, Document: schemas.DocumentID{Path: p}})
}

func (j *Judge) examineFile(ctx context.Context, e *Examination, p string, after history.Entry) error {
	class, ok := schemas.IsControlFile(p, &e.trust.Settings.Spec)
	was, err := e.base.File(ctx, p)
	if err != nil {
		return err
	}
	if !ok && was == nil {
		// Something that replaces control files, such as a link in place of their folder.
		if after.Blob != "" && after.Mode != regularFile && after.Mode != 0o40000 {
			e.fail(p, "is "+modeName(after.Mode)+" in place of control files", "use regular files in regular folders")
			e.files = append(e.files, &file{path: p, class: schemas.ClassRequest, after: after.Blob})
		}
		return nil
	}
	if !ok {
		class = schemas.FileClass(was.Class)
	}
	f := &file{path: p, class: class, was: was, after: after.Blob}
	if was != nil {
		f.before = was.Admitted
	}
	if f.before == f.after && (after.Blob == "" || allowed(class, after.Mode)) {
		if was != nil {
			back := *was
			back.Raw, back.Quarantine, back.Reasons = f.after, "", nil
			e.restored = append(e.restored, &back)
		}
		return nil
	}
	e.files = append(e.files, f)
	if err := schemas.CheckPath(p); err != nil {
		e.fail(p, err.Error(), "")
		return nil
	}
	if after.Blob != "" && !allowed(class, after.Mode) {
		e.fail(p, "is "+modeName(after.Mode), "control files must be regular files: run git update-index --chmod=-x, or replace the link with its content")
		return nil
	}
	if class == schemas.ClassAutomation || e.unread {
		return nil // workflows are GitHub's to read
	}
	if f.before != "" {
		if f.old, err = j.decode(e, f, f.before, false); err != nil {
			return err
		}
	}
	if f.after != "" {
		if f.new, err = j.decode(e, f, f.after, true); err != nil {
			return err
		}
	}
	return nil
}

// allowed reports whether a control file may have a mode. Scripts that workflows run are executable.
func allowed(class schemas.FileClass, mode uint32) bool {
	return mode == regularFile || mode == executableFile && class == schemas.ClassAutomation
}

func modeName(mode uint32) string {
	switch mode {
	case 0o120000:
		return "a symbolic link"
	case 0o160000:
		return "a submodule"
	case executableFile:
		return "executable"
	}
	return fmt.Sprintf("of mode %o", mode)
}

// decode reads one version of a control file. Only errors in the new version are errors of the change.
func (j *Judge) decode(e *Examination, f *file, blob string, isNew bool) ([]schemas.Document, error) {
	ready, ok := e.decoded[f.path]
	if !ok || ready.blob != blob || f.class != schemas.ClassRequest {
		content, err := j.config.Repository.Blob(blob, int64(schemas.FileLimit(f.path)))
		if errors.Is(err, history.ErrTooLarge) && isNew {
			e.fail(f.path, "is larger than "+schemas.Bytes(schemas.FileLimit(f.path)), "split it")
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.path, err)
		}
		if f.class == schemas.ClassPolicy || f.class == schemas.ClassSigners {
			return nil, nil
		}
		ready.docs, ready.errs = strict.Decode(f.path, content)
	}
	docs, errs := ready.docs, slices.Clip(ready.errs)
	if isNew {
		errs = append(errs, strict.CheckPlaces(f.path, docs, &e.trust.Settings.Spec)...)
		for _, x := range errs {
			e.Errors = append(e.Errors, FindingOf(x, "invalid"))
		}
	}
	return docs, nil
}

// admissions adds the quarantined files that an Admission of this change names.
func (j *Judge) admissions(ctx context.Context, e *Examination) error {
	for _, f := range slices.Clone(e.files) {
		for _, d := range f.new {
			a, ok := d.Value.(*schemas.AdmissionSpec)
			if !ok || slices.ContainsFunc(f.old, func(o schemas.Document) bool { return reflect.DeepEqual(o.Value, d.Value) }) {
				continue
			}
			was, err := e.base.File(ctx, a.Path)
			if err != nil {
				return err
			}
			pos := d.At("spec.path")
			switch {
			case slices.ContainsFunc(e.files, func(o *file) bool { return o.path == a.Path }):
				e.Errors = append(e.Errors, schemas.Finding{Code: "admission", Severity: schemas.SeverityError, Position: pos, Document: schemas.DocumentID{Path: f.path, Index: d.Index},
					Message: a.Path + " is modified by the same change", Fix: "leave the file unchanged: an Admission admits quarantined content as it is"})
			case was == nil || !was.Quarantined():
				e.Errors = append(e.Errors, schemas.Finding{Code: "admission", Severity: schemas.SeverityError, Position: pos, Document: schemas.DocumentID{Path: f.path, Index: d.Index},
					Message: a.Path + " is not quarantined", Fix: "countersign status lists quarantined files"})
			case was.Raw != a.Blob:
				e.Errors = append(e.Errors, schemas.Finding{Code: "admission", Severity: schemas.SeverityError, Position: d.At("spec.blob"), Document: schemas.DocumentID{Path: f.path, Index: d.Index},
					Message: fmt.Sprintf("%s is quarantined with blob %s", a.Path, orNone(was.Raw)), Fix: "review that content, then name its blob"})
			default:
				entry := history.Entry{Blob: a.Blob, Mode: regularFile}
				if a.Blob == "" {
					entry = history.Entry{}
				}
				if err := j.examineFile(ctx, e, a.Path, entry); err != nil {
					return err
				}
				e.admits = append(e.admits, schemas.FileChange{Path: a.Path, Before: was.Admitted, After: a.Blob})
			}
		}
	}
	return nil
}

func orNone(blob string) string {
	if blob == "" {
		return "none (it was deleted)"
	}
	return blob
}

// Place sets the position of a finding about a document of the change.
func (e *Examination) Place(f schemas.Finding) schemas.Finding {
	for _, x := range e.files {
		if x.path == f.Document.Path && f.Document.Index < len(x.new) {
			f.Position = placeIn(x.new[f.Document.Index], &f)
			return f
		}
	}
	f.Position = schemas.Position{Path: f.Document.Path}
	return f
}

// placeIn is the line of the name that a finding is about, or that of the document.
func placeIn(d schemas.Document, f *schemas.Finding) schemas.Position {
	req, ok := d.Value.(*schemas.Request)
	if !ok {
		return d.Position
	}
	for list, entries := range map[string][]schemas.Entry{"grants": req.Grants, "revokes": req.Revokes} {
		for i := range entries {
			if f.Target.SourceName != "" && entries[i].Name() == f.Target {
				return d.At(fmt.Sprintf("spec.%s[%d].source_name", list, i))
			}
		}
	}
	if f.Code == "no-connection" {
		return d.At("spec.connection.source_name")
	}
	return d.Position
}

func (e *Examination) fileOf(p string) *file {
	i := slices.IndexFunc(e.files, func(f *file) bool { return f.path == p })
	if i < 0 {
		return nil
	}
	return e.files[i]
}
