package strict

import (
	"reflect"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// decoding turns a document of one kind into its content.
type decoding struct {
	spec   reflect.Type // the type of the field spec
	decode func(d *decoder, set *schemaSet, doc *schemas.Document, fields map[string]any) schemas.Content
}

// spec decodes the field spec into a T, which content checks and completes.
func spec[T any](content func(d *decoder, doc *schemas.Document, spec *T) schemas.Content) decoding {
	return decoding{reflect.TypeFor[T](), func(d *decoder, set *schemaSet, doc *schemas.Document, fields map[string]any) schemas.Content {
		spec := new(T)
		if err := set.plans.set(reflect.ValueOf(spec).Elem(), fields["spec"]); err != nil {
			d.fail(d.root, nil, err.Error(), "this is a fault of countersign itself")
		}
		return content(d, doc, spec)
	}}
}

// decodings has an entry for every kind of document. Without one for a kind in schemas.DocumentKinds, nothing is decoded
// and every test fails.
func decodings() map[schemas.Kind]decoding {
	return map[schemas.Kind]decoding{
		schemas.KindConnectionCreation: spec(func(d *decoder, doc *schemas.Document, s *schemas.ConnectionCreationSpec) schemas.Content {
			return d.checkRequest(&schemas.Request{Kind: doc.Kind, Metadata: doc.Metadata, Application: s.Application,
				Provisioning: s.Provisioning, Connection: s.Connection, Payload: s.Payload})
		}),
		schemas.KindConnectionAssignment: spec(func(d *decoder, doc *schemas.Document, s *schemas.ConnectionAssignmentSpec) schemas.Content {
			return d.checkRequest(&schemas.Request{Kind: doc.Kind, Metadata: doc.Metadata, Application: s.Application,
				Provisioning: s.Provisioning, Connection: s.Connection, Grants: s.Grants, Revokes: s.Revokes})
		}),
		schemas.KindConnectionDeletion: spec(func(d *decoder, doc *schemas.Document, s *schemas.ConnectionDeletionSpec) schemas.Content {
			return d.checkRequest(&schemas.Request{Kind: doc.Kind, Metadata: doc.Metadata, Application: s.Application,
				Provisioning: s.Provisioning, Connection: s.Connection, ReassignTo: s.ReassignTo})
		}),
		schemas.KindApplication: spec(func(d *decoder, doc *schemas.Document, s *schemas.ApplicationSpec) schemas.Content {
			s.SetDefaults()
			d.checkApplication(s)
			return &schemas.Application{Name: doc.Metadata.Name, Spec: *s, Position: doc.Position}
		}),
		schemas.KindSettings: spec(func(d *decoder, doc *schemas.Document, s *schemas.SettingsSpec) schemas.Content {
			s.SetDefaults()
			d.checkSettings(s)
			return &schemas.Settings{Spec: *s, Position: doc.Position}
		}),
		schemas.KindPeople: spec(func(d *decoder, doc *schemas.Document, s *schemas.PeopleSpec) schemas.Content {
			d.checkPeople(s)
			return &schemas.People{Spec: *s, Position: doc.Position}
		}),
		schemas.KindAdmission: spec(func(d *decoder, _ *schemas.Document, s *schemas.AdmissionSpec) schemas.Content {
			if err := schemas.CheckPath(s.Path); err != nil {
				d.failPath(err.Error(), "", "spec", "path")
			}
			return s
		}),
		schemas.KindBudgetOverride: spec(func(d *decoder, _ *schemas.Document, s *schemas.BudgetOverrideSpec) schemas.Content {
			if (s.Limits == schemas.LimitSet{}) {
				d.failPath("names no limit (expected at least one of attributes, deletions, grants, members, revokes)", "", "spec", "limits")
			}
			return s
		}),
		schemas.KindAcknowledgement: spec(func(d *decoder, doc *schemas.Document, s *schemas.AcknowledgementSpec) schemas.Content {
			given := 0
			var names []string
			for _, of := range []struct {
				name string
				is   bool
			}{
				{"exception", s.Exception != nil},
				{"first_run", s.FirstRun != ""},
				{"future_record", s.FutureRecord != ""},
				{"held", s.Held != nil},
				{"rebind", s.Rebind != nil},
				{"rejudged", s.Rejudged != nil},
				{"rewritten_from", s.RewrittenFrom != ""},
				{"unsigned_ledger", s.UnsignedLedger != nil},
			} {
				names = append(names, of.name)
				if of.is {
					given++
				}
			}
			if given != 1 {
				d.failPath("acknowledges not exactly one thing (expected one of "+strings.Join(names, ", ")+")", "write one document for each", "spec")
			}
			if s.Exception != nil && strings.TrimSpace(doc.Metadata.Reason) == "" {
				d.failPath("required to accept an exception", "write why it is accepted", "metadata", "reason")
			}
			return s
		}),
	}
}
