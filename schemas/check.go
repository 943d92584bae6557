package schemas

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// setDefaults fills in what the settings leave out. The JSON Schema says the same defaults.
func (s *SettingsSpec) setDefaults() {
	s.Branch = orDefault(s.Branch, "main")
	s.Folders = s.Folders.withDefaults()
	s.Signoff = orDefault(s.Signoff, "signed")
	if s.Forge.Kind == "github" {
		s.Forge.Publisher = orDefault(s.Forge.Publisher, "github-actions[bot]")
	}
}

// setDefaults fills in what the application leaves out. The JSON Schema says the same defaults.
func (s *ApplicationSpec) setDefaults() {
	s.Provisioning = orDefault(s.Provisioning, ProvisioningDirect)
	s.Mode = orDefault(s.Mode, ModeFull)
	s.Unmanaged = orDefault(s.Unmanaged, UnmanagedReport)
	s.Drift.Mode = orDefault(s.Drift.Mode, DriftReport)
	if s.Fulfilment != nil {
		s.Fulfilment.setDefaults()
	}
}

func orDefault[T ~string](v, def T) T {
	if v == "" {
		return def
	}
	return v
}

// CheckPattern reports why a glob pattern is malformed, or nil. A star matches any run of characters, a
// question mark one; a backslash takes the next character as it is.
func CheckPattern(pattern string) error {
	switch {
	case pattern == "":
		return errors.New("the pattern is empty")
	case strings.HasSuffix(strings.ReplaceAll(pattern, `\\`, ""), `\`):
		return errors.New("the pattern ends in a backslash that takes no character")
	}
	return nil
}

// failPath reports a fault at the value of a field, given as keys (and indexes in decimal).
func (d *decoder) failPath(msg, hint string, way ...string) {
	n, key := d.lookup(way)
	if key != nil && (isImplicitNull(n) || len(n.Content) > 0) {
		n = key
	}
	d.fail(n, d.steps(way), msg, hint)
}

// nameFault is nameFault, but for files whose characters were found at fault already.
func (d *decoder) nameFault(s string) string {
	if d.dirty {
		return ""
	}
	return nameFault(s)
}

// checkName reports a text that cannot be a name.
func (d *decoder) checkName(s string, way ...string) {
	if s == "" {
		return
	}
	if f := d.nameFault(s); f != "" {
		d.failPath(f, "write the name as it is in the application, or by its source_id", way...)
	}
}

// checkLine reports a text of one line that is not plain.
func (d *decoder) checkLine(s string, way ...string) {
	if s == "" {
		return
	}
	if f := d.nameFault(s); f != "" {
		d.failPath(f, "", way...)
	}
}

func (d *decoder) checkMetadata(m *Metadata) {
	d.checkLine(m.Ticket, "metadata", "ticket")
	if m.Reason != "" && strings.TrimSpace(m.Reason) == "" {
		d.failPath("is blank", "say why, or remove the field", "metadata", "reason")
	}
}

// checkRequest checks a request and returns it.
func (d *decoder) checkRequest(r *Request) *Request {
	d.checkName(r.Connection.SourceName, "spec", "connection", "source_name")
	d.checkName(r.Connection.SourceID, "spec", "connection", "source_id")
	d.checkName(r.ReassignTo, "spec", "reassign_to")
	if r.Kind == KindConnectionDeletion && r.ReassignTo != "" && r.ReassignTo == r.Connection.SourceName {
		d.failPath("names the connection that is deleted", "name somebody else", "spec", "reassign_to")
	}
	if r.Kind != KindConnectionAssignment {
		return r
	}
	if len(r.Grants) == 0 && len(r.Revokes) == 0 {
		d.failPath("has neither grants nor revokes (expected one at least)", "", "spec")
	}
	d.checkEntries("grants", r.Grants)
	d.checkEntries("revokes", r.Revokes)
	d.checkTwice(r)
	return r
}

func (d *decoder) checkEntries(list string, entries []Entry) {
	for i := range entries {
		e := &entries[i]
		if f := d.nameFault(e.SourceName); f != "" {
			d.checkName(e.SourceName, "spec", list, strconv.Itoa(i), "source_name")
		}
		if e.SourceID != "" {
			d.checkName(e.SourceID, "spec", list, strconv.Itoa(i), "source_id")
		}
		for j, p := range e.Privileges {
			if f := d.nameFault(p); f != "" {
				d.failPath(f, "", "spec", list, strconv.Itoa(i), "privileges", strconv.Itoa(j))
			}
		}
		if list == "revokes" {
			if e.Starts != nil {
				d.failPath("a revoke has no start: it takes effect when it is merged", "remove it", "spec", list, strconv.Itoa(i), "starts")
			}
			if e.Expires != nil {
				d.failPath("a revoke has no end: it holds until a later grant", "remove it", "spec", list, strconv.Itoa(i), "expires")
			}
			continue
		}
		if e.Starts != nil && e.Expires != nil && !e.Expires.After(*e.Starts) {
			d.failPath("is not after starts", "give it an end after its start", "spec", list, strconv.Itoa(i), "expires")
		}
	}
}

// entitlement is what must not stand twice in an assignment: one privilege on one target. An entry
// without privileges has "", whatever that means to the connector.
type entitlement struct {
	Name
	id, privilege string
}

// checkTwice reports entitlements that stand twice in the grants, twice in the revokes, or in both.
func (d *decoder) checkTwice(r *Request) {
	if len(r.Grants)+len(r.Revokes) < 2 {
		return
	}
	type place struct {
		list  string
		entry int
	}
	first := make(map[entitlement]place, len(r.Grants)+len(r.Revokes))
	check := func(list string, entries []Entry) {
		for i := range entries {
			e := &entries[i]
			privileges := e.Privileges
			if len(privileges) == 0 {
				privileges = []string{""}
			}
			for j, p := range privileges {
				key := entitlement{e.Name(), e.SourceID, p}
				before, ok := first[key]
				if !ok {
					first[key] = place{list, i}
					continue
				}
				way := []string{"spec", list, strconv.Itoa(i)}
				if p != "" {
					way = append(way, "privileges", strconv.Itoa(j))
				}
				n, _ := d.lookup([]string{"spec", before.list, strconv.Itoa(before.entry)})
				what := fmt.Sprintf("stands twice in %s", list)
				if list != before.list {
					what = "is both granted and revoked"
				}
				d.failPath(fmt.Sprintf("%s (first at line %d)", what, n.Line+d.line), "remove one", way...)
			}
		}
	}
	check("grants", r.Grants)
	check("revokes", r.Revokes)
}

func (d *decoder) checkApplication(s *ApplicationSpec) {
	d.checkOwners(s.Owners)
	d.checkLine(s.Drift.Schedule, "spec", "drift", "schedule")
	if s.Fulfilment != nil {
		d.checkFulfilment(s.Fulfilment)
	}
	for _, m := range []struct {
		name     string
		patterns map[string][]string
	}{{"scope", s.Scope}, {"grantable", s.Grantable}, {"privileged", s.Privileged}} {
		for typ, patterns := range m.patterns {
			for i, p := range patterns {
				way := []string{"spec", m.name, typ, strconv.Itoa(i)}
				if err := CheckPattern(p); err != nil {
					d.failPath(err.Error(), "", way...)
				} else if f := d.nameFault(p); f != "" {
					d.failPath(f, "", way...)
				} else if slices.Contains(patterns[:i], p) {
					d.failPath("stands twice", "remove one", way...)
				}
			}
		}
	}
}

func (d *decoder) checkOwners(owners []string) {
	for i, owner := range owners {
		if f := d.nameFault(owner); f != "" {
			d.failPath(f, "", "spec", "owners", strconv.Itoa(i))
		} else if slices.Contains(owners[:i], owner) {
			d.failPath("stands twice", "remove one", "spec", "owners", strconv.Itoa(i))
		}
	}
}

// badBranch matches what git check-ref-format refuses in the name of a branch, and names that begin
// with a dash.
var badBranch = regexp.MustCompile(`^[-/.]|[/.]$|\.lock$|\.\.|//|/\.|@\{|[\x00-\x20\x7f~^:?*\[\\]|^@$`)

func (d *decoder) checkSettings(s *SettingsSpec) {
	d.checkOwners(s.Owners)
	if badBranch.MatchString(s.Branch) || d.nameFault(s.Branch) != "" {
		d.failPath("is no name of a branch", "write it without refs/heads/, as git branch shows it", "spec", "branch")
	}
	if _, err := regexp.Compile(s.Tickets); err != nil {
		d.failPath("is no regular expression of RE2", "try it at regex101.com with the flavour Golang", "spec", "tickets")
	}
	if s.Forge.Kind == "github" && s.Forge.Repository == "" {
		d.failPath("is missing (expected owner/name)", "", "spec", "forge", "repository")
	}
	d.checkFolders(s)
}

// checkFolders holds the folders and the allowed signers apart from each other and from the files with
// fixed names: a path must have one class.
func (d *decoder) checkFolders(s *SettingsSpec) {
	folders := []struct{ name, path string }{
		{"applications", s.Folders.Applications}, {"policy", s.Folders.Policy}, {"requests", s.Folders.Requests},
	}
	for i, f := range folders {
		way := []string{"spec", "folders", f.name}
		if err := CheckPath(f.path); err != nil {
			d.failPath(err.Error(), "", way...)
			continue
		}
		if f.path == SettingsPath || f.path == PeoplePath {
			d.failPath("is the path of a control file", "choose another folder", way...)
		}
		for _, other := range folders[:i] {
			if overlap(f.path, other.path) {
				d.failPath("is, holds or lies in the folder of "+other.name, "give each a folder beside the others", way...)
			}
		}
		if s.AllowedSigners != "" && overlap(f.path, s.AllowedSigners) {
			d.failPath("lies in the folder of "+f.name, "put the file somewhere else", "spec", "allowed_signers")
		}
	}
	if s.AllowedSigners == "" {
		return
	}
	if err := CheckPath(s.AllowedSigners); err != nil {
		d.failPath(err.Error(), "", "spec", "allowed_signers")
	} else if s.AllowedSigners == SettingsPath || s.AllowedSigners == PeoplePath {
		d.failPath("is the path of a control file", "put the file somewhere else", "spec", "allowed_signers")
	}
}

// overlap says whether two paths are the same or one lies in the other, on file systems that tell upper
// from lower case and on those that don't.
func overlap(a, b string) bool {
	a, b = foldKey(a), foldKey(b)
	return a == b || below(a, b) || below(b, a)
}

func (d *decoder) checkPeople(s *PeopleSpec) {
	logins, emails := map[string]int{}, map[string]int{}
	for i, p := range s.People {
		at := strconv.Itoa(i)
		if p.Login == "" && len(p.Emails) == 0 {
			d.failPath("has neither login nor emails: nobody can be told to be this person", "", "spec", "people", at)
		}
		d.checkLine(p.Login, "spec", "people", at, "login")
		d.checkLine(p.Manager, "spec", "people", at, "manager")
		if p.Login != "" {
			if before, ok := logins[foldKey(p.Login)]; ok {
				d.failPath(fmt.Sprintf("is the login of people[%d] too", before), "one account is one person", "spec", "people", at, "login")
			} else {
				logins[foldKey(p.Login)] = i
			}
		}
		for j, e := range p.Emails {
			way := []string{"spec", "people", at, "emails", strconv.Itoa(j)}
			d.checkLine(e, way...)
			if before, ok := emails[foldKey(e)]; ok {
				d.failPath(fmt.Sprintf("is an address of people[%d] too", before), "one address is one person", way...)
			} else {
				emails[foldKey(e)] = i
			}
		}
		for application, names := range p.Identities {
			for j, n := range names {
				d.checkLine(n, "spec", "people", at, "identities", application, strconv.Itoa(j))
			}
		}
	}
	for team, members := range s.Teams {
		for i, m := range members {
			d.checkLine(m, "spec", "teams", team, strconv.Itoa(i))
		}
	}
}
