package hold

import "github.com/countersign/countersign/schemas"

// The removal budget where neither the application nor the settings set one.
const defaultRevokes, defaultDeletions = 50, 5

// Limits returns those of an application: what it leaves open the settings set, and what they leave open is the
// default.
func Limits(app *schemas.Application, s *schemas.Settings) schemas.Limits {
	out := s.Spec.Limits
	if own := app.Spec.Limits; own != nil {
		out.LimitSet = fill(own.LimitSet, out.LimitSet)
		for _, x := range []struct{ own, common **schemas.LimitSet }{{&own.Request, &out.Request}, {&own.Run, &out.Run}, {&own.Day, &out.Day}} {
			if *x.own != nil {
				*x.common = *x.own
			}
		}
	}
	if out.Revokes == nil && out.Members == nil && out.Grants == nil {
		n := defaultRevokes
		out.Revokes = &n
	}
	if out.Deletions == nil {
		n := defaultDeletions
		out.Deletions = &n
	}
	return out
}

// fill is the set with what it leaves open from another one. Revokes are members and grants together: who
// limits one of the three has spoken of them.
func fill(set, from schemas.LimitSet) schemas.LimitSet {
	if set.Revokes == nil && set.Members == nil && set.Grants == nil {
		set.Revokes, set.Members, set.Grants = from.Revokes, from.Members, from.Grants
	}
	if set.Deletions == nil {
		set.Deletions = from.Deletions
	}
	if set.Attributes == nil {
		set.Attributes = from.Attributes
	}
	return set
}

// Override puts an approved BudgetOverride in the place of the limits that it names, for a request, a run and
// a day as well. Other limits stay in force.
func Override(l schemas.Limits, by schemas.LimitSet) schemas.Limits {
	named := by.Revokes != nil || by.Members != nil || by.Grants != nil
	l.LimitSet = fill(by, l.LimitSet)
	for _, set := range []**schemas.LimitSet{&l.Request, &l.Run, &l.Day} {
		if *set == nil {
			continue
		}
		x := **set
		if named {
			x.Revokes, x.Members, x.Grants = nil, nil, nil
		}
		if by.Deletions != nil {
			x.Deletions = nil
		}
		if by.Attributes != nil {
			x.Attributes = nil
		}
		*set = &x
	}
	return l
}
