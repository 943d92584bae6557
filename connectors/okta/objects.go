package okta

import (
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// The types of groups.
const (
	oktaGroup = "OKTA_GROUP"
	builtIn   = "BUILT_IN"
)

type group struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Profile struct {
		Name        string  `json:"name"`
		Description *string `json:"description"`
	} `json:"profile"`
	Embedded struct {
		Stats struct {
			// Okta's descriptions spell it in two ways.
			Admin     *bool `json:"hasAdminPrivilege"`
			AdminToo  *bool `json:"hasAdminPrivlege"`
			UserCount *int  `json:"usersCount"`
		} `json:"stats"`
	} `json:"_embedded"`
}

// admin reports whether the group holds an administrator role, and whether the answer shows it at all.
func (g *group) admin() (holds, known bool) {
	for _, v := range []*bool{g.Embedded.Stats.Admin, g.Embedded.Stats.AdminToo} {
		if v != nil {
			holds, known = holds || *v, true
		}
	}
	return holds, known
}

func (g *group) key() (name, id string) { return g.Profile.Name, g.ID }

func (g *group) whole() bool { return g.ID != "" && g.Type != "" && g.Profile.Name != "" }

type user struct {
	ID      string `json:"id"`
	Status  string `json:"status"`
	Profile struct {
		Login string `json:"login"`
	} `json:"profile"`
	// Rule is the group rule that added a member, in lists of members.
	Rule *string `json:"groupRuleId"`
}

func (u *user) whole() bool { return u.ID != "" && u.Profile.Login != "" && u.Status != "" }

func (u *user) key() (name, id string) { return u.name(), u.ID }

func (u *user) name() string { return fold(u.Profile.Login) }

// fold returns a login in the form in which logins equivalent in Okta are equal.
func fold(login string) string { return strings.ToLower(login) }

// state returns the state of a user's memberships (Users, user status).
func (u *user) state() schemas.EntitlementState {
	switch u.Status {
	case "STAGED", "PROVISIONED":
		return schemas.StateInvited
	case "SUSPENDED", "LOCKED_OUT", "DEPROVISIONED":
		return schemas.StateBlocked
	case "PASSWORD_EXPIRED":
		return schemas.StateExpired
	}
	return "" // ACTIVE, and RECOVERY, in which the user still has a session
}

type application struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Label string `json:"label"`
}

func (a *application) key() (name, id string) { return a.Label, a.ID }

func (a *application) whole() bool { return a.ID != "" && a.Label != "" }

// protected returns the reason why the application is never granted, or "".
func (a *application) protected() string {
	if slices.Contains(ownApplications(), a.Name) {
		return "a part of Okta itself"
	}
	return ""
}

// assignment is an application's group: its id is the group's.
type assignment struct {
	ID string `json:"id"`
}

func (a *assignment) whole() bool { return a.ID != "" }

type role struct {
	ID          string `json:"id"`
	Type        string `json:"type"`
	Label       string `json:"label"`
	Role        string `json:"role"`         // of a custom role
	ResourceSet string `json:"resource-set"` // of a custom role
}

func (r *role) whole() bool { return r.ID != "" && r.Type != "" }

const customRole = "CUSTOM"

// name and key identify the assigned role. The id of an assignment doesn't: each assignment gets a new one.
func (r *role) name() string {
	if r.Type == customRole {
		return "custom:" + r.Label
	}
	return r.Type
}

func (r *role) key() string {
	switch {
	case r.Type != customRole:
		return r.Type
	case r.Role == "" && r.ResourceSet == "":
		return r.ID
	}
	return r.Role + "@" + r.ResourceSet
}

type rule struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Status     string `json:"status"`
	Conditions struct {
		People struct {
			Groups struct {
				Include []string `json:"include"`
				Exclude []string `json:"exclude"`
			} `json:"groups"`
		} `json:"people"`
		Expression struct {
			Value string `json:"value"`
		} `json:"expression"`
	} `json:"conditions"`
	Actions struct {
		Assign struct {
			Groups []string `json:"groupIds"`
		} `json:"assignUserToGroups"`
	} `json:"actions"`
}

func (r *rule) whole() bool { return r.ID != "" && r.Status != "" }

// feeds reports whether the rule currently adds members to a group.
func (r *rule) feeds(g *group) bool {
	return r.Status == "ACTIVE" && slices.Contains(r.Actions.Assign.Groups, g.ID)
}

// mentions reports whether the rule breaks, or changes its meaning, when the group is deleted.
func (r *rule) mentions(g *group) bool {
	if r.Status == "INVALID" {
		return false
	}
	if slices.Contains(slices.Concat(r.Actions.Assign.Groups, r.Conditions.People.Groups.Include, r.Conditions.People.Groups.Exclude), g.ID) {
		return true
	}
	// isMemberOfGroup("00g…"), isMemberOfGroupName("Sales"): in quotation marks of either kind.
	for _, text := range []string{g.ID, g.Profile.Name} {
		for _, quote := range []string{`"`, `'`} {
			if strings.Contains(r.Conditions.Expression.Value, quote+text+quote) {
				return true
			}
		}
	}
	return false
}
