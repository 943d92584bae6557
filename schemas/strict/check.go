package strict

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/schemas"
)

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
	return schemas.NameFault(s)
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

func (d *decoder) checkMetadata(m *schemas.Metadata) {
	d.checkLine(m.Ticket, "metadata", "ticket")
	if m.Reason != "" && strings.TrimSpace(m.Reason) == "" {
		d.failPath("is blank", "write a reason, or remove the field", "metadata", "reason")
	}
}

func (d *decoder) checkApplication(s *schemas.ApplicationSpec) {
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
				if err := schemas.CheckPattern(p); err != nil {
					d.failPath(err.Error(), "", way...)
				} else if f := d.nameFault(p); f != "" {
					d.failPath(f, "", way...)
				} else if slices.Contains(patterns[:i], p) {
					d.failPath("duplicate", "remove one", way...)
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
			d.failPath("duplicate", "remove one", "spec", "owners", strconv.Itoa(i))
		}
	}
}

// badBranch matches what git check-ref-format refuses in the name of a branch, and names that begin
// with a dash.
var badBranch = regexp.MustCompile(`^[-/.]|[/.]$|\.lock$|\.\.|//|/\.|@\{|[\x00-\x20\x7f~^:?*\[\\]|^@$`)

func (d *decoder) checkSettings(s *schemas.SettingsSpec) {
	d.checkOwners(s.Owners)
	if badBranch.MatchString(s.Branch) || d.nameFault(s.Branch) != "" {
		d.failPath("is not the name of a branch", "write it without refs/heads/, as git branch shows it", "spec", "branch")
	}
	if _, err := regexp.Compile(s.Tickets); err != nil {
		d.failPath("is not a valid RE2 regular expression", "try it at regex101.com with the flavour Golang", "spec", "tickets")
	}
	if s.Forge.Kind == "github" && s.Forge.Repository == "" {
		d.failPath("is missing (expected owner/name)", "", "spec", "forge", "repository")
	}
	d.checkFolders(s)
}

// checkFolders holds the folders and the allowed signers apart from each other and from the files with
// fixed names: a path must have one class.
func (d *decoder) checkFolders(s *schemas.SettingsSpec) {
	folders := []struct{ name, path string }{
		{"applications", s.Folders.Applications}, {"policy", s.Folders.Policy}, {"requests", s.Folders.Requests},
	}
	for i, f := range folders {
		way := []string{"spec", "folders", f.name}
		if err := schemas.CheckPath(f.path); err != nil {
			d.failPath(err.Error(), "", way...)
			continue
		}
		if f.path == schemas.SettingsPath || f.path == schemas.PeoplePath {
			d.failPath("is the path of a control file", "choose another folder", way...)
		}
		for _, other := range folders[:i] {
			if schemas.Overlap(f.path, other.path) {
				d.failPath("is, holds or lies in the folder of "+other.name, "give each a folder beside the others", way...)
			}
		}
		if s.AllowedSigners != "" && schemas.Overlap(f.path, s.AllowedSigners) {
			d.failPath("lies in the folder of "+f.name, "put the file somewhere else", "spec", "allowed_signers")
		}
	}
	if s.AllowedSigners == "" {
		return
	}
	if err := schemas.CheckPath(s.AllowedSigners); err != nil {
		d.failPath(err.Error(), "", "spec", "allowed_signers")
	} else if s.AllowedSigners == schemas.SettingsPath || s.AllowedSigners == schemas.PeoplePath {
		d.failPath("is the path of a control file", "put the file somewhere else", "spec", "allowed_signers")
	}
}

// checkAccount reports a login or account id that another entry has too.
func (d *decoder) checkAccount(logins map[string]int, ids map[int64]int, i int, a schemas.Account, way ...string) {
	if a.Login != "" {
		if before, ok := logins[schemas.FoldKey(a.Login)]; ok {
			d.failPath(fmt.Sprintf("is the login of people[%d] too", before), "one account is one person", append(slices.Clone(way), "login")...)
		} else {
			logins[schemas.FoldKey(a.Login)] = i
		}
	}
	if a.AccountID != 0 {
		if before, ok := ids[a.AccountID]; ok {
			d.failPath(fmt.Sprintf("is an account id of people[%d] too", before), "one account is one person", append(slices.Clone(way), "account_id")...)
		} else {
			ids[a.AccountID] = i
		}
	}
}

func (d *decoder) checkPeople(s *schemas.PeopleSpec) {
	logins, emails, ids := map[string]int{}, map[string]int{}, map[int64]int{}
	for i, p := range s.People {
		at := strconv.Itoa(i)
		if p.Login == "" && len(p.Emails) == 0 {
			d.failPath("has neither login nor emails: nobody can be told to be this person", "", "spec", "people", at)
		}
		d.checkLine(p.Login, "spec", "people", at, "login")
		d.checkLine(p.Manager, "spec", "people", at, "manager")
		if p.AccountID != 0 && p.Login == "" {
			d.failPath("is the id of no login", "add the login of the account", "spec", "people", at, "account_id")
		}
		d.checkAccount(logins, ids, i, schemas.Account{Login: p.Login, AccountID: p.AccountID}, "spec", "people", at)
		for j, a := range p.Logins {
			d.checkLine(a.Login, "spec", "people", at, "logins", strconv.Itoa(j), "login")
			d.checkAccount(logins, ids, i, a, "spec", "people", at, "logins", strconv.Itoa(j))
		}
		for j, e := range p.Emails {
			way := []string{"spec", "people", at, "emails", strconv.Itoa(j)}
			d.checkLine(e, way...)
			if before, ok := emails[schemas.FoldKey(e)]; ok {
				d.failPath(fmt.Sprintf("is an address of people[%d] too", before), "one address is one person", way...)
			} else {
				emails[schemas.FoldKey(e)] = i
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
