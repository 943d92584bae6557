package scim

// Sources are the pages that a profile rests on.
func Sources(name string) []string {
	p, _ := findProfile(name)
	return p.sources
}
