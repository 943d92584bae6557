package report

import (
	"slices"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

// effects are sentences about who gains and who loses what.
func (b *builder) effects(gained, lost []schemas.Access) []line {
	out := append(b.effect(lost, "loses", "lose", "is no longer a member", "are no longer members", bad),
		b.effect(gained, "gains", "gain", "becomes a member", "become members", good)...)
	return b.bound(out)
}

// bound cuts sentences about one operation, and counts the others.
func (b *builder) bound(out []line) []line {
	if n := len(out) - b.bounds.effects; n > 0 {
		out = append(out[:b.bounds.effects:b.bounds.effects], say("and {} more access changes", n).In(faint))
	}
	return out
}

func (b *builder) effect(list []schemas.Access, one, many, member, members literal, s layout.Style) []line {
	type right struct {
		target    schemas.Name
		privilege string
	}
	holders := map[right][]schemas.Name{}
	var order []right
	for _, a := range list {
		r := right{a.Target, a.Privilege}
		if _, ok := holders[r]; !ok {
			order = append(order, r)
		}
		if !slices.Contains(holders[r], a.Identity) {
			holders[r] = append(holders[r], a.Identity)
		}
	}
	var out []line
	done := map[right]bool{}
	for _, r := range order {
		if done[r] {
			continue
		}
		who := holders[r]
		identities := plural(len(who), "identity", "identities")
		if r.privilege == schemas.PrivilegeMember {
			verb := members
			if len(who) == 1 {
				verb = member
			}
			out = append(out, say("{} {} of {}: {}", identities, say("{}", verb).In(s), b.of(r.target), b.people(who)))
			continue
		}
		// Privileges on one target that the same people gain share a sentence.
		privileges := []line{say("{}", name(r.privilege))}
		for _, o := range order {
			if o != r && !done[o] && o.target == r.target && o.privilege != schemas.PrivilegeMember && slices.Equal(holders[o], who) {
				privileges = append(privileges, say("{}", name(o.privilege)))
				done[o] = true
			}
		}
		verb := many
		if len(who) == 1 {
			verb = one
		}
		out = append(out, say("{} {} {} on {}: {}", identities, say("{}", verb).In(s), join(", ", privileges...), b.of(r.target), b.people(who)))
	}
	return out
}

// people lists identities, without the type user.
func (b *builder) people(who []schemas.Name) line {
	var lines []line
	for _, n := range who {
		if n.Type == "user" {
			lines = append(lines, say("{}", name(b.words.Name(n).SourceName)))
		} else {
			lines = append(lines, b.of(n))
		}
	}
	return list(lines, b.names)
}
