package scim

import "github.com/countersign/countersign/connectors"

// Sources are the pages that a profile rests on.
func Sources(name string) []string {
	p, _ := findProfile(name)
	return p.sources
}

// ProfileNames are all that a config may name.
func ProfileNames() []string { return profileNames() }

// Calls is how many requests a reader has sent.
func Calls(r connectors.Reader) int {
	switch r := r.(type) {
	case *reader:
		return r.http.Calls()
	case *writer:
		return r.http.Calls()
	}
	return 0
}
