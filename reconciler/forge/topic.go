package forge

import "context"

// Topic is the subject of one issue, kept up to date for as long as there is something to report.
type Topic struct {
	// Key tells issues apart: "drift warehouse", "quarantine".
	Key string
	// Title and Body are the text; an empty Body closes it.
	Title, Body string
	Labels      []string
}

// Topics keeps one issue for each topic.
type Topics interface {
	// UpdateTopics opens, updates and closes the issues of these topics, and leaves all others alone. Where
	// issues are off, or the credentials don't allow writing them, it only logs that.
	UpdateTopics(ctx context.Context, publisher string, topics []Topic) error
}
