package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler/forge"
)

// starting is the repository at a forge that init writes files for. Each forge that has such files has a flag of its
// name, such as --github OWNER/NAME.
type starting struct {
	kinds        []forge.Kind
	repositories []string
}

func (s *starting) flags(c *cobra.Command) {
	for _, k := range forges() {
		if k.Starter != nil {
			s.kinds = append(s.kinds, k)
		}
	}
	s.repositories = make([]string, len(s.kinds))
	for i, k := range s.kinds {
		c.Flags().StringVar(&s.repositories[i], k.Name, "", "the repository on "+k.Title+", `OWNER/NAME`: also write its workflows, CODEOWNERS and ruleset")
	}
}

// chosen returns the forge whose flag is set, and the repository; nil without one.
func (s *starting) chosen() (forge.Starter, string, error) {
	var at forge.Starter
	repository := ""
	for i, k := range s.kinds {
		name := s.repositories[i]
		switch {
		case name == "":
			continue
		case at != nil:
			return nil, "", errors.New("name one forge, not two")
		case !repositoryName.MatchString(name):
			return nil, "", fmt.Errorf("--%s %s: expected OWNER/NAME", k.Name, name)
		}
		at, repository = k.Starter, name
	}
	return at, repository, nil
}

// hint tells which flags name a repository.
func (s *starting) hint() string {
	var titles, flags []string
	for _, k := range s.kinds {
		titles, flags = append(titles, k.Title), append(flags, "--"+k.Name+" OWNER/NAME")
	}
	return fmt.Sprintf("tickets are issues on %s: name the repository with %s", strings.Join(titles, " or "), strings.Join(flags, " or "))
}
