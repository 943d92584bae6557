package excerpt

import (
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// description is a connector's description with what is looked up in it often, and the numbers of names. Numbers are
// only ever added: worlds share them.
type description struct {
	schemas.Description
	targets   map[string]map[string]*schemas.GrantableType // by the connection's and the target's type
	aliases   map[string]string
	kinds     map[string]map[schemas.Edge]bool // edges by the type of their target
	spellings plan.Spellings
	numbers   map[schemas.Name]graph.Node
	names     []schemas.Name
}

func newDescription(desc schemas.Description) *description {
	d := &description{Description: desc, targets: map[string]map[string]*schemas.GrantableType{}, aliases: map[string]string{},
		kinds: map[string]map[schemas.Edge]bool{}, spellings: plan.SpellingsOf(desc), numbers: map[schemas.Name]graph.Node{}, names: make([]schemas.Name, 1)}
	for i := range desc.Types {
		t := &desc.Types[i]
		of := map[string]*schemas.GrantableType{}
		d.targets[t.Name] = of
		for j := range t.Grantable {
			g := &t.Grantable[j]
			if of[g.Type] == nil {
				of[g.Type] = g
			}
			if g.Alias != "" {
				d.aliases[g.Type] = g.Alias
			}
			if d.kinds[g.Type] == nil {
				d.kinds[g.Type] = map[schemas.Edge]bool{}
			}
			d.kinds[g.Type][g.Edge] = true
		}
	}
	return d
}

func (d *description) number(n schemas.Name) graph.Node {
	i, ok := d.numbers[n]
	if !ok {
		i = graph.Node(len(d.names))
		d.numbers[n] = i
		d.names = append(d.names, n)
	}
	return i
}

// canonical is the connection that a name is, where its type is another name for one.
func (d *description) canonical(n graph.Node) graph.Node {
	name := d.names[n]
	alias, ok := d.aliases[name.Type]
	if !ok {
		return n
	}
	return d.number(schemas.Name{Type: alias, SourceName: name.SourceName})
}

// connection reports whether a name may be that of a connection.
func (d *description) connection(n graph.Node) bool {
	_, ok := d.targets[d.names[n].Type]
	return ok
}

// target is the grantable type of a key, nil for none.
func (d *description) target(k key) *schemas.GrantableType {
	return d.targets[d.names[k.connection].Type][d.names[k.target].Type]
}

// edge is what a key makes: a use of a resource where nothing else is known.
func (d *description) edge(k key) schemas.Edge {
	if g := d.target(k); g != nil {
		return g.Edge
	}
	return schemas.EdgeResource
}

// namedBy are the targets that a document names in any version; 0 where one creates, deletes or names nothing.
func (d *description) namedBy(doc *plan.Document) []graph.Node {
	var out []graph.Node
	add := func(n graph.Node) {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	versions(doc, func(v *plan.Version, _ bool) {
		r := v.Request
		if !plan.Assigns(r.Kind) || len(r.Grants)+len(r.Revokes) == 0 {
			add(0)
		}
		for _, list := range [][]schemas.Entry{r.Grants, r.Revokes} {
			for i := range list {
				add(d.number(list[i].Name()))
			}
		}
	})
	return out
}

// otherSpellings returns the other ways of writing the membership of a key.
func (d *description) otherSpellings(k key) []key {
	if !d.spellings.Any() {
		return nil
	}
	var out []key
	for _, s := range d.spellings.Of(d.names[k.connection], d.names[k.target]) {
		out = append(out, key{d.number(s[0]), d.number(s[1])})
	}
	return out
}

// namesOf are the names of a connection: its own, and those of other types that are the same.
func (d *description) namesOf(c graph.Node) []graph.Node {
	out := []graph.Node{c}
	n := d.names[c]
	for _, alias := range slices.Sorted(maps.Keys(d.aliases)) {
		if d.aliases[alias] == n.Type {
			out = append(out, d.number(schemas.Name{Type: alias, SourceName: n.SourceName}))
		}
	}
	return out
}

// contains reports whether a target of a connection contains another.
func (d *description) contains(connection, container, part graph.Node) bool {
	g := d.target(key{connection, container})
	c, p := d.names[container], d.names[part]
	return g != nil && container != part && slices.ContainsFunc(g.Contains, func(x schemas.Containment) bool {
		return x.Type == p.Type && (x.Separator == "" || strings.HasPrefix(p.SourceName, c.SourceName+x.Separator))
	})
}

// containers calls visit with the names that a container of a key's target may have, by type; "" is any.
func (d *description) containers(k key, visit func(typ, name string)) {
	part := d.names[k.target]
	for typ, g := range d.targets[d.names[k.connection].Type] {
		for _, c := range g.Contains {
			switch {
			case c.Type != part.Type:
			case c.Separator == "":
				visit(typ, "")
			default:
				for at := strings.Index(part.SourceName, c.Separator); at >= 0; {
					visit(typ, part.SourceName[:at])
					next := strings.Index(part.SourceName[at+len(c.Separator):], c.Separator)
					if next < 0 {
						break
					}
					at += len(c.Separator) + next
				}
			}
		}
	}
}
