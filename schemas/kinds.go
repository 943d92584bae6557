package schemas

// Kind names the kind of a document.
type Kind string

// The kinds of documents in an access repository.
const (
	KindConnectionCreation   Kind = "ConnectionCreation"
	KindConnectionAssignment Kind = "ConnectionAssignment"
	KindConnectionDeletion   Kind = "ConnectionDeletion"
	KindApplication          Kind = "Application"
	KindSettings             Kind = "Settings"
	KindPeople               Kind = "People"
	// KindAdmission admits content that was quarantined, as it is.
	KindAdmission Kind = "Admission"
	// KindBudgetOverride lifts the removal budget of one application for a while.
	KindBudgetOverride Kind = "BudgetOverride"
	// KindAcknowledgement accepts what only a person may accept: a rewritten branch, a first run's removals.
	KindAcknowledgement Kind = "Acknowledgement"
)

// DocumentKinds are the kinds of documents, sorted. A kind that is not listed does not exist: its documents are refused.
func DocumentKinds() []Kind {
	return []Kind{
		KindAcknowledgement, KindAdmission, KindApplication, KindBudgetOverride, KindConnectionAssignment,
		KindConnectionCreation, KindConnectionDeletion, KindPeople, KindSettings,
	}
}

// ByRequestKind returns the answer for a kind of request; the zero value for any other kind. It is the one place that
// tells kinds of request apart: a new kind is a new parameter here, and then every caller without an answer for it does
// not compile.
func ByRequestKind[T any](kind Kind, creation, assignment, deletion T) T {
	switch kind {
	case KindConnectionCreation:
		return creation
	case KindConnectionAssignment:
		return assignment
	case KindConnectionDeletion:
		return deletion
	}
	var none T
	return none
}

// IsRequest reports whether documents of this kind ask for a change of access.
func (k Kind) IsRequest() bool { return ByRequestKind(k, true, true, true) }

// IsControl reports whether documents of this kind steer a run without changing access by themselves:
// they live beside the requests and are folded with them. Their content is a Control.
func (k Kind) IsControl() bool {
	return k == KindAdmission || k == KindBudgetOverride || k == KindAcknowledgement
}

// Content is what a document contains: *Request for the three request kinds, else *Application, *Settings, *People or a
// Control.
type Content interface{ content() }

// Control is the content of a document that steers runs: *AdmissionSpec, *BudgetOverrideSpec or *AcknowledgementSpec.
type Control interface {
	Content
	control()
}

func (*Request) content()             {}
func (*Application) content()         {}
func (*Settings) content()            {}
func (*People) content()              {}
func (*AdmissionSpec) content()       {}
func (*BudgetOverrideSpec) content()  {}
func (*AcknowledgementSpec) content() {}

func (*AdmissionSpec) control()       {}
func (*BudgetOverrideSpec) control()  {}
func (*AcknowledgementSpec) control() {}

// VisitContent calls the function for the content's type; nil functions ignore theirs. A new type of content is a new
// parameter, so that every caller has to decide about it.
func VisitContent(c Content, request func(*Request), application func(*Application), settings func(*Settings), people func(*People), control func(Control)) {
	switch v := c.(type) {
	case *Request:
		visit(request, v)
	case *Application:
		visit(application, v)
	case *Settings:
		visit(settings, v)
	case *People:
		visit(people, v)
	case Control:
		visit(control, v)
	}
}

// VisitControl calls the function for the type of a control document, as VisitContent does for all documents.
func VisitControl(c Control, admission func(*AdmissionSpec), budgetOverride func(*BudgetOverrideSpec), acknowledgement func(*AcknowledgementSpec)) {
	switch v := c.(type) {
	case *AdmissionSpec:
		visit(admission, v)
	case *BudgetOverrideSpec:
		visit(budgetOverride, v)
	case *AcknowledgementSpec:
		visit(acknowledgement, v)
	}
}

func visit[T any](f func(T), v T) {
	if f != nil {
		f(v)
	}
}
