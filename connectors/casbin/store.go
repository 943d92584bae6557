package casbin

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLine is the longest line that casbin's file adapter reads: it rejects a file with a longer one.
const maxLine = 64*1024 - 1

// record is a line of the file. Text is the line unchanged, without the newline.
type record struct {
	text   string
	fields []string // nil for comments, blank lines and unknown sections
	gone   bool
	fresh  bool // added or changed by us
}

// permission is the object and the action of a "p" line.
type permission struct{ object, action string }

// declaration is a "p2" line.
type declaration struct {
	kind, title, description string
	critical                 bool
	at                       int // its line
}

// lines are the places of duplicate lines, which casbin accepts.
type lines []int

// store is a policy file in memory.
type store struct {
	records  []record
	declared map[string]declaration          // connections, p2
	users    map[string]int                  // p3
	objects  map[string]int                  // p4
	perms    map[string]map[permission]lines // by subject
	parents  map[string]map[string]lines     // by member
	members  map[string]map[string]struct{}  // by parent
	used     map[string]int                  // p lines by object
	sections map[string]int                  // rules of other models, by section
	fault    string                          // why the file couldn't be read completely
	changed  bool
}

// parse reads a policy file. It never fails: the store's fault describes the first problem, and the valid lines are
// in the store.
func parse(content []byte) *store {
	n := bytes.Count(content, []byte{'\n'})
	s := &store{
		records: make([]record, 0, n), declared: make(map[string]declaration, n/4), users: map[string]int{}, objects: map[string]int{},
		perms: make(map[string]map[permission]lines, n/4), parents: make(map[string]map[string]lines, n/4),
		members: make(map[string]map[string]struct{}, n/4), used: map[string]int{}, sections: map[string]int{},
	}
	switch {
	case len(content) == 0:
		s.fail("the policy file is empty; a store without rules needs at least a comment")
		return s
	case content[len(content)-1] != '\n':
		s.fail("the policy file lacks its last newline: it was cut short, or an enforcer saved it; if it is complete, add the newline")
	case !utf8.Valid(content):
		s.fail("the policy file is not valid UTF-8")
	}
	whole := string(content)
	for rest, more := whole, true; more; {
		var text string
		text, rest, more = strings.Cut(rest, "\n")
		if !more && text == "" {
			break // after the last newline
		}
		s.add(record{text: text})
	}
	for name, d := range s.declared {
		if _, ok := s.users[name]; ok {
			s.fail(fmt.Sprintf("line %d: duplicate declaration, the subject is also declared as a user", d.at+1))
		}
	}
	return s
}

func (s *store) fail(why string) {
	if s.fault == "" {
		s.fault = why
	}
}

// split splits a line into fields as casbin's file adapter does. It returns nil for comments and blank lines.
func split(text string) ([]string, error) {
	line := strings.TrimSpace(text)
	if line == "" || line[0] == '#' {
		return nil, nil
	}
	if !strings.ContainsAny(line, "\"\r") {
		fields := strings.Split(line, ",")
		for i, f := range fields {
			fields[i] = strings.TrimLeftFunc(f, unicode.IsSpace)
		}
		return fields, nil
	}
	r := csv.NewReader(strings.NewReader(line))
	r.Comment, r.TrimLeadingSpace = '#', true
	return r.Read()
}

// add adds a line.
func (s *store) add(r record) {
	at := len(s.records)
	bad := func(what string) {
		s.fail(fmt.Sprintf("line %d of the policy file: %s", at+1, what))
		s.records = append(s.records, record{text: r.text, fresh: r.fresh})
	}
	fields, err := split(r.text)
	switch {
	case err != nil:
		bad("invalid CSV: misplaced quotation mark")
		return
	case len(r.text) > maxLine:
		bad("too long for casbin")
		return
	case strings.ContainsRune(r.text, 0):
		bad("NUL character")
		return
	case len(fields) == 0:
		s.records = append(s.records, r)
		return
	}
	args := fields[1:]
	want := map[string]int{"p": 3, "g": 2, "p2": 5, "p3": 1, "p4": 1}[fields[0]]
	switch {
	case want == 0:
		if fields[0] == "" || (fields[0][0] != 'p' && fields[0][0] != 'g') {
			bad("not a rule (expected a section p, p2, p3, p4 or g)")
			return
		}
		s.sections[fields[0]]++
		s.records = append(s.records, r) // a section of another model
		return
	case len(args) < want, len(args) > want && fields[0] != "g": // casbin ignores further fields of a g line
		bad(fmt.Sprintf("%s rule with %d fields (expected %d)", fields[0], len(args), want))
		return
	case args[0] == "", want > 1 && args[1] == "", fields[0] == "p" && args[2] == "":
		bad("empty name")
		return
	}
	r.fields = fields
	switch fields[0] {
	case "p":
		add(s.perms, args[0], permission{args[1], args[2]}, at)
		s.used[args[1]]++
	case "g":
		add(s.parents, args[0], args[1], at)
		if s.members[args[1]] == nil {
			s.members[args[1]] = map[string]struct{}{}
		}
		s.members[args[1]][args[0]] = struct{}{}
	case "p2":
		d := declaration{kind: args[1], at: at}
		var okTitle, okDescription bool
		d.title, okTitle = unescape(args[2])
		d.description, okDescription = unescape(args[3])
		d.critical = args[4] == "true"
		if (d.kind != TypeRole && d.kind != TypeGroup) || !okTitle || !okDescription || (args[4] != "true" && args[4] != "false") {
			bad("invalid declaration (expected p2, NAME, role or group, title, description, true or false)")
			return
		}
		if _, twice := s.declared[args[0]]; twice {
			bad("duplicate declaration of the subject")
			return
		}
		s.declared[args[0]] = d
	case "p3":
		if _, twice := s.users[args[0]]; !twice {
			s.users[args[0]] = at
		}
	case "p4":
		if _, twice := s.objects[args[0]]; !twice {
			s.objects[args[0]] = at
		}
	}
	s.records = append(s.records, r)
}

func add[K comparable](m map[string]map[K]lines, name string, key K, at int) {
	if m[name] == nil {
		m[name] = make(map[K]lines, 1)
	}
	m[name][key] = append(m[name][key], at)
}

// kind returns the type of a subject, or "" if no line mentions it.
func (s *store) kind(name string) string {
	if d, ok := s.declared[name]; ok {
		return d.kind
	}
	if _, ok := s.users[name]; ok {
		return TypeUser
	}
	if len(s.members[name]) > 0 {
		return TypeRole
	}
	if len(s.parents[name]) > 0 || len(s.perms[name]) > 0 {
		return TypeUser
	}
	return ""
}

// object reports whether a line mentions the object.
func (s *store) object(name string) bool {
	_, ok := s.objects[name]
	return ok || s.used[name] > 0
}

// subjects returns all subjects of a kind, sorted.
func (s *store) subjects(kind string) []string {
	var list []string
	seen := make(map[string]struct{}, len(s.declared)+len(s.users))
	consider := func(name string) {
		if _, ok := seen[name]; ok {
			return
		}
		seen[name] = struct{}{}
		if s.kind(name) == kind {
			list = append(list, name)
		}
	}
	for name := range s.declared {
		consider(name)
	}
	for name := range s.users {
		consider(name)
	}
	for name := range s.members {
		consider(name)
	}
	for name := range s.parents {
		consider(name)
	}
	for name := range s.perms {
		consider(name)
	}
	slices.Sort(list)
	return list
}

// allObjects returns all objects, sorted.
func (s *store) allObjects() []string {
	all := make(map[string]struct{}, len(s.objects)+len(s.used))
	for name := range s.objects {
		all[name] = struct{}{}
	}
	for name, n := range s.used {
		if n > 0 {
			all[name] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// append adds a new line.
func (s *store) append(fields ...string) {
	s.changed = true
	s.add(record{text: join(fields), fresh: true})
}

// join is the inverse of split. It quotes where casbin's reader needs it, which valid names never do.
func join(fields []string) string {
	var b strings.Builder
	for i, f := range fields {
		if i > 0 {
			b.WriteString(", ")
		}
		if strings.ContainsAny(f, ",\"\r\n") || f != strings.TrimSpace(f) {
			b.WriteString(`"` + strings.ReplaceAll(f, `"`, `""`) + `"`)
			continue
		}
		b.WriteString(f)
	}
	return b.String()
}

// declare writes a connection's declaration.
func (s *store) declare(name string, d declaration) {
	fields := []string{"p2", name, d.kind, escape(d.title), escape(d.description), strconv.FormatBool(d.critical)}
	if old, ok := s.declared[name]; ok {
		d.at = old.at
		s.declared[name] = d
		s.records[d.at] = record{text: join(fields), fields: fields, fresh: true}
		s.changed = true
		return
	}
	s.append(fields...)
}

// keep declares a subject, so that its name and type survive the removal of the line that mentions it.
func (s *store) keep(name string) {
	if _, ok := s.declared[name]; ok {
		return
	}
	if _, ok := s.users[name]; ok {
		return
	}
	switch s.kind(name) {
	case TypeRole:
		s.declare(name, declaration{kind: TypeRole})
	case TypeUser:
		s.append("p3", name)
	}
}

func (s *store) drop(at lines) {
	for _, i := range at {
		s.records[i].gone = true
	}
	s.changed = true
}

// removePermission removes all lines of a permission.
func (s *store) removePermission(subject string, p permission) {
	if _, ok := s.objects[p.object]; !ok {
		s.append("p4", p.object)
	}
	s.keep(subject)
	at := s.perms[subject][p]
	s.drop(at)
	s.used[p.object] -= len(at)
	delete(s.perms[subject], p)
}

// removeMembership removes all lines of a membership.
func (s *store) removeMembership(member, parent string) {
	s.keep(member)
	s.keep(parent)
	s.drop(s.parents[member][parent])
	delete(s.parents[member], parent)
	delete(s.members[parent], member)
}

// removeConnection removes a connection with its permissions and all memberships on both sides.
func (s *store) removeConnection(name string) {
	s.keep(name)
	for _, p := range slices.SortedFunc(maps.Keys(s.perms[name]), comparePermissions) {
		s.removePermission(name, p)
	}
	for _, parent := range slices.Sorted(maps.Keys(s.parents[name])) {
		s.removeMembership(name, parent)
	}
	for _, member := range slices.Sorted(maps.Keys(s.members[name])) {
		s.removeMembership(member, name)
	}
	s.drop(lines{s.declared[name].at})
	delete(s.declared, name)
}

func comparePermissions(a, b permission) int {
	if c := strings.Compare(a.object, b.object); c != 0 {
		return c
	}
	return strings.Compare(a.action, b.action)
}

// above reports whether name is the subject below, or has it as a direct or indirect member.
func (s *store) above(below, name string) bool {
	seen := map[string]struct{}{}
	todo := []string{below}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at == name {
			return true
		}
		if _, ok := seen[at]; ok {
			continue
		}
		seen[at] = struct{}{}
		for parent := range s.parents[at] {
			todo = append(todo, parent)
		}
	}
	return false
}

// bytes returns the file with its changes. All other lines are unchanged.
func (s *store) bytes() []byte {
	var b bytes.Buffer
	for _, r := range s.records {
		if !r.gone {
			b.WriteString(r.text)
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// escape escapes a text so that it needs no quotes, because an enforcer's SavePolicy writes none.
func escape(text string) string {
	var b strings.Builder
	for i, r := range text {
		edge := i == 0 || i+utf8.RuneLen(r) == len(text)
		if r == '%' || r == ',' || r == '"' || unicode.IsControl(r) || (unicode.IsSpace(r) && (edge || r != ' ')) {
			for _, c := range []byte(string(r)) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// unescape is the inverse of escape. It rejects a percent sign that escapes nothing.
func unescape(text string) (string, bool) {
	if !strings.Contains(text, "%") {
		return text, true
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		if i+2 >= len(text) {
			return "", false
		}
		c, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), utf8.ValidString(b.String())
}
