package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/cmd/countersign/guides"
)

// guideTopics are the guides as help topics: countersign help reviewing.
func guideTopics() ([]*cobra.Command, error) {
	all, err := guides.All()
	if err != nil {
		return nil, err
	}
	var topics []*cobra.Command
	for _, g := range all {
		topic := &cobra.Command{Use: g.Name, Short: g.Title, Long: g.Text}
		topic.SetHelpFunc(func(c *cobra.Command, _ []string) { fmt.Fprint(c.OutOrStdout(), c.Long) })
		topics = append(topics, topic)
	}
	return topics, nil
}
