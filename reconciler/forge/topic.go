package forge

import "context"

// Topic is what one issue is about, kept up to date for as long as there is something to say.
type Topic struct {
	// Key tells issues apart: "drift warehouse", "quarantine".
	Key string
	// Title and Body are the text; an empty Body closes it.
	Title, Body string
	Labels      []string
}

// Topics keeps one issue for each topic.
type Topics interface {
	// UpdateTopics opens, updates and closes the issues of these topics, and leaves all others alone. Where the
	// repository has no issues, or the credentials don't allow writing them, it only logs that.
	UpdateTopics(ctx context.Context, publisher string, topics []Topic) error
}
