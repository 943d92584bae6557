// Package soundness checks that a configuration can judge changes: that the people whom it asks exist, and that the rules
// and data of the repository can take effect. A change that would leave a configuration without that is refused while it can
// still be reviewed; validate reports the same offline.
//
// It may import policy, signoff and schemas.
package soundness

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

// Configuration is what changes are judged by.
type Configuration struct {
	Settings *schemas.SettingsSpec
	// At returns the place of a field of the settings; nil for no place.
	At           func(field string) schemas.Position
	People       *schemas.PeopleSpec
	Directory    *signoff.Directory
	Applications map[string]*schemas.Application
	// Types returns the types of connections of an application; false if they are unknown.
	Types func(application string) ([]string, bool)
	// Engine has the rules; nil if they cannot be evaluated.
	Engine *policy.Engine
	// Data is the policy's data, with its file.
	Data        map[string]any
	DataPath    string
	DataContent []byte
}

// Check returns what is wrong, each at its place. An error means that the rules could not be tried now.
func (c *Configuration) Check(ctx context.Context) (schemas.ErrorList, error) {
	list := append(c.owners(), policy.Locate(c.duties(), c.DataPath, c.DataContent)...)
	if c.Engine == nil {
		return list.Sort(), nil
	}
	list = append(list, c.mentions()...)
	tried, err := c.Engine.Try(ctx)
	return append(list, tried...).Sort(), err
}

// known reports whether a principal includes anybody who could sign off. Teams that only the forge knows are taken.
func (c *Configuration) known(principal string) bool {
	if team, ok := strings.CutPrefix(principal, "team:"); ok && c.Settings.Forge.Kind != "local" {
		if _, listed := c.People.Teams[team]; !listed {
			return true
		}
	}
	return slices.ContainsFunc(c.Directory.Eligible(principal), c.Directory.Known)
}

// owners reports settings that nobody could ever change again.
func (c *Configuration) owners() schemas.ErrorList {
	if slices.ContainsFunc(c.Settings.Owners, c.known) {
		return nil
	}
	e := schemas.Error{Field: "spec.owners", Msg: fmt.Sprintf("nobody in %s is one of the owners (%s), so no change of settings, people, applications or policy could be signed off",
		schemas.PeoplePath, strings.Join(c.Settings.Owners, ", ")), Hint: "name a person or team of " + schemas.PeoplePath + ", or add the owners there first"}
	if c.At != nil {
		e.Position = c.At(e.Field)
	}
	return schemas.ErrorList{e}
}

// mentions reports teams and users in rules that include nobody: a sign-off of theirs could never be given.
func (c *Configuration) mentions() schemas.ErrorList {
	var list schemas.ErrorList
	for _, m := range c.Engine.Mentions() {
		if !c.known(m.Principal) {
			list = append(list, schemas.Error{Position: m.Position, Msg: fmt.Sprintf("nobody in %s is %s, so this sign-off could never be given", schemas.PeoplePath, m.Principal),
				Hint: "add its members to " + schemas.PeoplePath + " first, or name somebody else"})
		}
	}
	return list
}

// duties reports connections in sets of duties that do not exist: the set would never apply.
func (c *Configuration) duties() schemas.ErrorList {
	sets, _ := c.Data["separation_of_duties"].([]any)
	var list schemas.ErrorList
	for i, set := range sets {
		set, _ := set.(map[string]any)
		names, _ := set["connections"].([]any)
		for j, n := range names {
			n, _ := n.(string)
			application, rest, _ := strings.Cut(n, "/")
			typ, _, ok := strings.Cut(rest, "/")
			if !ok {
				continue // New has reported it
			}
			field := fmt.Sprintf("data.separation_of_duties[%d].connections[%d]", i, j)
			if c.Applications[application] == nil {
				list = append(list, schemas.Error{Field: field, Msg: fmt.Sprintf("unknown application %q, so the set would never apply", application), Hint: "write application/type/source_name"})
				continue
			}
			if types, known := c.Types(application); known && !slices.Contains(types, typ) {
				list = append(list, schemas.Error{Field: field, Msg: fmt.Sprintf("unknown type %q of application %s, so the set would never apply", typ, application),
					Hint: "the types are " + strings.Join(types, ", ")})
			}
		}
	}
	return list
}
