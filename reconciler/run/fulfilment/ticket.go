package fulfilment

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/schemas"
)

// MaxOperations is how many operations one ticket lists: an issue's text has a maximum length.
const MaxOperations = 150

// Marker is hidden at the beginning of a ticket, so that a later run finds it: one for each document and application.
func Marker(application string, d schemas.DocumentID) string {
	sum := sha256.Sum256([]byte(application + "\x1f" + d.Path + "\x1f" + strconv.Itoa(d.Index)))
	return "<!-- countersign:v1 ticket " + hex.EncodeToString(sum[:8]) + " -->"
}

// Mentions reports whether a ticket's text lists a submission.
func Mentions(body, submission string) bool {
	return strings.Contains(body, "<!-- "+submission+" -->")
}

// Item is one operation of a ticket.
type Item struct {
	Submission string
	Operation  *schemas.Operation
	// Done ticks it off, Withdrawn strikes it out.
	Done, Withdrawn bool
}

// Text is the text of a ticket.
type Text struct {
	Application string
	Document    schemas.DocumentID
	Source      schemas.FulfilmentSource
	Items       []Item
	Closers     []string
	// Description has the direction of memberships.
	Description schemas.Description
}

// Title names the application and the file.
func (t *Text) Title() string {
	what := t.Document.Path
	if what == "" {
		what = "access that no request asked for"
	}
	if t.Document.Index > 0 {
		what += fmt.Sprintf(" (document %d)", t.Document.Index+1)
	}
	return clip(report.Safe(fmt.Sprintf("Access to carry out in %s: %s", t.Application, what)), 250)
}

func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// Body is the text in Markdown. Everything foreign in it is escaped.
func (t *Text) Body() string {
	md := report.MarkdownText
	var b strings.Builder
	b.WriteString(Marker(t.Application, t.Document) + "\n")
	fmt.Fprintf(&b, "The operations below were signed off. Carry them out in **%s** by hand.\n\n", md(t.Application))
	for _, l := range []struct{ name, text string }{{"Request", t.Document.Path}, {"Name", t.Source.Name}, {"Reason", t.Source.Reason}, {"Ticket", t.Source.Ticket}} {
		if l.text != "" {
			fmt.Fprintf(&b, "%s: %s  \n", l.name, md(clip(l.text, 500)))
		}
	}
	if n := t.Source.PullRequest; n > 0 {
		fmt.Fprintf(&b, "Signed off in pull request %d of the access repository.\n", n)
	}
	b.WriteString("\n")
	for _, i := range t.Items {
		box, text := "[ ]", words(i.Operation, t.Description, md)
		switch {
		case i.Withdrawn:
			box, text = "[x]", "~~"+text+"~~ (withdrawn: leave it as it is)"
		case i.Done:
			box = "[x]"
		}
		fmt.Fprintf(&b, "- %s %s <!-- %s -->\n", box, text, i.Submission)
	}
	var closers []string
	for _, c := range t.Closers {
		closers = append(closers, md(strings.TrimPrefix(c, "user:")))
	}
	fmt.Fprintf(&b, "\nClose this issue **as completed** when all of it is done, or **as not planned** when it should not be done. Closing counts from %s, "+
		"but not from anybody who made the request or gains by it. Where the application can be read, countersign checks it.\n", strings.Join(closers, ", "))
	return b.String()
}

// Markdown escapes a foreign sentence for GitHub; "" stays "".
func Markdown(s string) string {
	if s == "" {
		return ""
	}
	return report.MarkdownText(s)
}

// Tampered reports whether a ticket's text asks for something else than we wrote: ticked boxes don't count as a difference.
func Tampered(ours, theirs string) bool { return unticked(ours) != unticked(theirs) }

func unticked(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.TrimSpace(strings.NewReplacer("\n- [x] ", "\n- [ ] ", "\n- [X] ", "\n- [ ] ").Replace(s))
}

// Words describes an operation in a sentence. The description has the direction of memberships.
func Words(o *schemas.Operation, d schemas.Description) string {
	return words(o, d, func(s string) string { return s })
}

func words(o *schemas.Operation, d schemas.Description, text func(string) string) string {
	name := func(n schemas.Name, id string) string {
		s := text(n.Type) + " " + text(n.SourceName)
		if id != "" {
			s += " (id " + text(id) + ")"
		}
		return s
	}
	c := name(o.Connection, o.NativeID)
	attributes := func() string {
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(o.After)) {
			v, err := json.Marshal(o.After[k])
			if err != nil {
				v = []byte("?")
			}
			parts = append(parts, text(k)+": "+text(clip(string(v), 500)))
		}
		return strings.Join(parts, ", ")
	}
	switch o.Kind {
	case schemas.OperationCreate:
		if a := attributes(); a != "" {
			return "Create the " + c + ", with " + a
		}
		return "Create the " + c
	case schemas.OperationUpdate:
		return "Change the " + c + " to " + attributes()
	case schemas.OperationDelete:
		if o.ReassignTo != "" {
			return "Delete the " + c + ", and give what it owns to " + text(o.ReassignTo)
		}
		return "Delete the " + c
	}
	target := name(*o.Target, o.TargetID)
	until := ""
	if o.Expires != nil {
		until = ", until " + o.Expires.UTC().Format("2006-01-02 15:04Z") + " (it is asked for again then)"
	}
	if o.Privilege == schemas.PrivilegeMember || o.Privilege == schemas.PrivilegeAdmin {
		member, of, as := target, c, "a member"
		typ, _ := d.Type(o.Connection.Type)
		if g, ok := typ.Target(o.Target.Type); ok && g.Edge == schemas.EdgeConnection {
			member, of = c, target
		}
		if o.Privilege == schemas.PrivilegeAdmin {
			as = "a member with admin option"
		}
		if o.Kind == schemas.OperationGrant {
			return "Make the " + member + " " + as + " of the " + of + until
		}
		return "Make sure that the " + member + " is no longer " + as + " of the " + of
	}
	if o.Kind == schemas.OperationGrant {
		return "Grant " + text(o.Privilege) + " on the " + target + " to the " + c + until
	}
	return "Revoke " + text(o.Privilege) + " on the " + target + " from the " + c
}
