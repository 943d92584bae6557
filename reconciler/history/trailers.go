package history

import "strings"

// Trailer is one line of the block at the end of a message.
type Trailer struct{ Key, Value string }

// CoAuthors are the people that a message calls co-authors, in any paragraph and any case: forges and hands
// put the lines in many places, and one overlooked would let a co-author approve.
func CoAuthors(message string) []Person {
	var out []Person
	lines := splitLines(message)
	for i := 0; i < len(lines); i++ {
		key, value, ok := strings.Cut(lines[i], ":")
		if !ok || !strings.EqualFold(strings.TrimSpace(key), "Co-authored-by") {
			continue
		}
		for i+1 < len(lines) && isFolded(lines[i+1]) {
			i++
			value += " " + lines[i]
		}
		out = append(out, PersonOf(value))
	}
	return out
}

func splitLines(message string) []string {
	return strings.Split(strings.ReplaceAll(message, "\r\n", "\n"), "\n")
}

func isBlank(line string) bool { return strings.TrimSpace(line) == "" }

// isFolded reports whether a line goes on the one before.
func isFolded(line string) bool {
	return line != "" && (line[0] == ' ' || line[0] == '\t') && !isBlank(line)
}

// Trailers are those of the message's last paragraph, by the rules of git interpret-trailers: each of its
// lines is a trailer or goes on one; or, where Git itself put one of them (Signed-off-by or a cherry-pick's),
// a quarter of them are. Text that looks like a trailer further up is prose, and the title is never one.
func Trailers(message string) []Trailer {
	lines := splitLines(message)
	for len(lines) > 0 && isBlank(lines[0]) {
		lines = lines[1:]
	}
	for len(lines) > 0 && isBlank(lines[len(lines)-1]) {
		lines = lines[:len(lines)-1]
	}
	start := len(lines)
	for start > 0 && !isBlank(lines[start-1]) {
		start--
	}
	if start == 0 {
		return nil
	}
	var out []Trailer
	trailers, others := 0, 0
	byGit, after := false, false
	for _, l := range lines[start:] {
		if isFolded(l) {
			// A line that continues a trailer is part of it; one that continues prose is prose.
			if after {
				out[len(out)-1].Value += " " + strings.TrimSpace(l)
			} else {
				others++
			}
			continue
		}
		after = false
		if strings.HasPrefix(l, "(cherry picked from commit ") {
			byGit = true
			trailers++
			continue
		}
		key, value, ok := cutTrailer(l)
		if !ok {
			others++
			continue
		}
		byGit = byGit || strings.HasPrefix(l, "Signed-off-by: ")
		after = true
		trailers++
		out = append(out, Trailer{key, strings.TrimSpace(value)})
	}
	if others > 0 && (!byGit || trailers*3 < others) {
		return nil
	}
	return out
}

// cutTrailer cuts a line at its separator: a key of letters, digits and hyphens, then a colon.
func cutTrailer(line string) (key, value string, ok bool) {
	key, value, ok = strings.Cut(line, ":")
	key = strings.TrimRight(key, " \t")
	if !ok || key == "" || strings.IndexFunc(key, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) >= 0 {
		return "", "", false
	}
	return key, value, true
}

// PersonOf reads "Name <mail>"; a value without an address in angle brackets at its end has none.
func PersonOf(s string) Person {
	s = strings.TrimSpace(s)
	open := strings.IndexByte(s, '<')
	if open < 0 || !strings.HasSuffix(s, ">") {
		return Person{Name: s}
	}
	return Person{Name: strings.TrimSpace(s[:open]), Email: strings.TrimSpace(s[open+1 : len(s)-1])}
}
