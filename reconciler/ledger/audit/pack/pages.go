package pack

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/reconciler/ledger/audit"
	"github.com/countersign/countersign/schemas"
)

//go:embed templates/*.html
var templates embed.FS

// maxPath is how many resources the picture of a page shows.
const maxPath = 12

// box is a box of the picture, with the place of its text.
type box struct {
	X, Y, TX, TY int
	Text         string
}

type arrow struct{ X1, Y1, X2, Y2 int }

func pageName(i int) string { return fmt.Sprintf("sample-%03d.html", i+1) }

func parsed(name string) (*template.Template, error) {
	return template.New(name).Funcs(template.FuncMap{"instant": instant, "approvers": approvers, "rules": rules, "yes": yesNo,
		"join": func(list []string) string { return strings.Join(list, ", ") }}).ParseFS(templates, "templates/"+name, "templates/style.html")
}

// page writes what is on record about one operation.
func page(out io.Writer, p *audit.Population, r *schemas.AuditRow, i int, content func(string) (string, error)) error {
	t, err := parsed("sample.html")
	if err != nil {
		return err
	}
	asked := ""
	if content != nil && r.RequestBlob != "" {
		if asked, err = content(r.RequestBlob); err != nil {
			return fmt.Errorf("read %s as it was approved: %w", r.RequestPath, err)
		}
	}
	boxes, arrows, more, still := picture(p, r)
	height := 60
	for _, b := range boxes {
		height = max(height, b.Y+50)
	}
	return t.Execute(out, map[string]any{"Number": i + 1, "Row": r, "Asked": asked, "Boxes": boxes, "Arrows": arrows, "Height": height, "More": more, "Still": still, "End": &p.End.AsOf})
}

// picture is the path from the member to what the connection gives at the end of the period, and whether the access is
// still there then.
func picture(p *audit.Population, r *schemas.AuditRow) (boxes []box, arrows []arrow, more int, still bool) {
	const wide, step = 270, 46
	place := func(column, line int, text string) box {
		x, y := 10+column*wide, 10+line*step
		return box{x, y, x + 8, y + 22, text}
	}
	var resources []string
	for i := range p.End.Entitlements {
		e := &p.End.Entitlements[i]
		if e.Application != r.Application || e.Connection.String() != r.Connection || e.Target == nil {
			continue
		}
		if e.Target.String() == r.Target && e.Privilege == r.Privilege {
			still = true
		}
		if e.Privilege != schemas.PrivilegeMember && e.Privilege != schemas.PrivilegeAdmin {
			resources = append(resources, e.Privilege+" on "+e.Target.String())
		}
	}
	boxes = append(boxes, place(1, 0, r.Connection))
	if r.Privilege == schemas.PrivilegeMember || r.Privilege == schemas.PrivilegeAdmin {
		boxes = append(boxes, place(0, 0, r.Target))
		arrows = append(arrows, arrow{10 + 240, 28, 10 + wide, 28})
	} else if own := r.Privilege + " on " + r.Target; r.Target != "" && !slices.Contains(resources, own) {
		resources = append([]string{own}, resources...)
	}
	for i, text := range resources[:min(len(resources), maxPath)] {
		boxes = append(boxes, place(2, i, text))
		arrows = append(arrows, arrow{10 + wide + 240, 28, 10 + 2*wide, 28 + i*step})
	}
	return boxes, arrows, max(0, len(resources)-maxPath), still
}

// readme writes how to verify the package.
func readme(out io.Writer, p *audit.Population, seed uint64, signed, pseudonyms bool) error {
	t, err := parsed("readme.html")
	if err != nil {
		return err
	}
	return t.Execute(out, map[string]any{"Manifest": &p.Manifest, "Seed": seed, "Signed": signed, "Pseudonyms": pseudonyms})
}

func sortedStates(m map[schemas.AuditState]int) []schemas.AuditState {
	return slices.Sorted(maps.Keys(m))
}
