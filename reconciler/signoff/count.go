package signoff

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// A person's approval may meet any number of the library's requirements, and one of the repository's own: a rule that asks for
// a second stage asks for a second person. Own requirements that ask the owners of different applications are the
// exception, since one person may own several.

// crowd is who may meet each requirement: people by requirement, in the order of the requirements.
type crowd [][]string

// seats returns the people counted for each requirement. It fills as many seats of the repository's own requirements as
// possible.
func seats(required []schemas.Requirement, owners map[string][]string, may crowd) crowd {
	counted := make(crowd, len(required))
	var own []int
	for i := range required {
		if isOwn(&required[i]) {
			own = append(own, i)
		} else {
			counted[i] = may[i]
		}
	}
	if len(own) == 0 {
		return counted
	}
	missing := match(required, own, may, counted)
	if missing == 0 {
		return counted
	}
	s := sharing{required: required, may: may, kinds: map[int]string{}, left: map[int]int{}, budget: maxSharing}
	for _, i := range own {
		s.left[i] = need(&required[i])
		s.kinds[i] = ownersOf(&required[i], owners)
		for _, p := range may[i] {
			if !slices.Contains(s.people, p) {
				s.people = append(s.people, p)
			}
		}
	}
	if !s.shared(own) {
		return counted
	}
	slices.Sort(s.people)
	s.best, s.own, s.taken = missing, own, make(crowd, len(required))
	s.try(0, s.total())
	if s.found != nil {
		for _, i := range own {
			counted[i] = s.found[i]
		}
	}
	return counted
}

func need(r *schemas.Requirement) int { return max(r.Count, 1) }

// isOwn reports whether a rule of the repository made the requirement. The library's codes and the core's are reserved.
func isOwn(r *schemas.Requirement) bool {
	return r.Code != schemas.CodeLiveMembers && !strings.HasPrefix(r.Code, "CS-")
}

// ownersOf returns the application whose owners a requirement asks, or "".
func ownersOf(r *schemas.Requirement, owners map[string][]string) string {
	found := ""
	for app, list := range owners {
		sorted := slices.Sorted(slices.Values(list))
		if slices.Equal(slices.Compact(sorted), r.From) && (found == "" || app < found) {
			found = app
		}
	}
	return found
}

// match gives each person to at most one of the own requirements (a maximum matching, by augmenting paths) and returns the
// number of seats that stay empty.
func match(required []schemas.Requirement, own []int, may, counted crowd) (missing int) {
	sits := map[string]int{} // person → index of a seat
	var seat []int           // requirement of each seat
	for _, i := range own {
		for range min(need(&required[i]), len(may[i])+1) {
			seat = append(seat, i)
		}
		missing += need(&required[i])
	}
	var place func(s int, tried map[string]bool) bool
	place = func(s int, tried map[string]bool) bool {
		for _, p := range may[seat[s]] {
			if tried[p] {
				continue
			}
			tried[p] = true
			if other, taken := sits[p]; !taken || place(other, tried) {
				sits[p] = s
				return true
			}
		}
		return false
	}
	for s := range seat {
		if place(s, map[string]bool{}) {
			missing--
		}
	}
	for p, s := range sits {
		counted[seat[s]] = append(counted[seat[s]], p)
	}
	for _, i := range own {
		slices.Sort(counted[i])
	}
	return missing
}

// maxSharing limits the search below; a search that is cut off fills fewer seats, which fails closed.
const maxSharing = 20_000

// sharing searches for an assignment in which people stand for the owners of several applications.
type sharing struct {
	required []schemas.Requirement
	own      []int
	may      crowd
	people   []string
	kinds    map[int]string // the application whose owners are asked, by requirement
	left     map[int]int    // seats that are empty, by requirement
	taken    crowd
	best     int
	found    crowd
	budget   int
}

// shared reports whether the owners of more than one application are asked.
func (s *sharing) shared(own []int) bool {
	apps := map[string]bool{}
	for _, i := range own {
		if s.kinds[i] != "" {
			apps[s.kinds[i]] = true
		}
	}
	return len(apps) > 1
}

func (s *sharing) total() int {
	n := 0
	for _, l := range s.left {
		n += l
	}
	return n
}

// try assigns the people from the n-th on.
func (s *sharing) try(n, empty int) {
	if empty < s.best {
		s.best, s.found = empty, make(crowd, len(s.taken))
		for i := range s.taken {
			s.found[i] = slices.Clone(s.taken[i])
		}
	}
	if s.budget--; n == len(s.people) || s.best == 0 || s.budget < 0 {
		return
	}
	p := s.people[n]
	// For the owners of as many applications as possible,
	s.owners(p, 0, map[string]bool{}, func(filled int) { s.try(n+1, empty-filled) })
	// or for one other requirement.
	for _, i := range s.own {
		if s.kinds[i] == "" && s.left[i] > 0 && slices.Contains(s.may[i], p) {
			s.sit(i, p)
			s.try(n+1, empty-1)
			s.rise(i)
		}
	}
}

// owners calls next for each way in which a person stands for the owners of applications, once per application.
func (s *sharing) owners(p string, from int, done map[string]bool, next func(filled int)) {
	for k := from; k < len(s.own); k++ {
		if s.budget--; s.budget < 0 {
			return
		}
		i := s.own[k]
		app := s.kinds[i]
		if app == "" || done[app] || s.left[i] == 0 || !slices.Contains(s.may[i], p) {
			continue
		}
		done[app] = true
		s.sit(i, p)
		s.owners(p, k+1, done, func(filled int) { next(filled + 1) })
		s.rise(i)
		delete(done, app)
	}
	next(0)
}

func (s *sharing) sit(i int, p string) {
	s.left[i]--
	s.taken[i] = append(s.taken[i], p)
}

func (s *sharing) rise(i int) {
	s.left[i]++
	s.taken[i] = s.taken[i][:len(s.taken[i])-1]
}

// elsewhere explains which own requirements the sign-offs are counted for that would meet a requirement as well.
func elsewhere(i int, required []schemas.Requirement, may, counted crowd) string {
	var out []string
	for j := range required {
		if j == i || !isOwn(&required[i]) || !isOwn(&required[j]) {
			continue
		}
		for _, p := range counted[j] {
			if slices.Contains(may[i], p) && !slices.Contains(counted[i], p) {
				out = append(out, fmt.Sprintf("%s's sign-off is counted for %s (%s)", p, required[j].Code, required[j].Why))
			}
		}
	}
	if len(out) == 0 {
		return ""
	}
	return "; " + strings.Join(out, ", ") + ", and different requirements need different people"
}

// purposes returns what each person's sign-off is counted for.
func purposes(required []schemas.Requirement, counted crowd) map[string][]string {
	out := map[string][]string{}
	for i := range required {
		for _, p := range counted[i] {
			out[p] = append(out[p], required[i].Code+": "+required[i].Why)
		}
	}
	return out
}
