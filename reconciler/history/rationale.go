package history

import (
	"regexp"
	"strings"
)

// boilerplate matches the lines that Git and forges write by themselves, which give no reason.
var boilerplate = regexp.MustCompile(`(?i)^(this reverts commit [0-9a-f]+.*|reverts? .*#[0-9]+\.?|(re)?(revert|apply) ".*"|\(cherry picked from commit .*\)|conflicts:|#.*|\*+|-{3,})$`)

// trailerLine matches a trailer, such as Approved-by.
var trailerLine = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9-]*): *(.*)$`)

// maxRationale bounds the text that is kept.
const maxRationale = 2000

// Rationale returns the reason that the messages of a change's commits give: the Reason trailer of the first one that has
// it, or else the first text below a subject that neither Git nor a forge writes by itself. "" is none.
func Rationale(messages ...string) string {
	text := ""
	for _, m := range messages {
		_, below, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(m, "\r\n", "\n")), "\n")
		paragraphs := strings.Split(strings.TrimSpace(below), "\n\n")
		for i, p := range paragraphs {
			var kept []string
			trailers := i == len(paragraphs)-1
			for line := range strings.SplitSeq(p, "\n") {
				line = strings.TrimSpace(line)
				if t := trailerLine.FindStringSubmatch(line); t != nil {
					if strings.EqualFold(t[1], "Reason") && strings.TrimSpace(t[2]) != "" {
						return clip(strings.TrimSpace(t[2]))
					}
					if trailers || strings.HasSuffix(strings.ToLower(t[1]), "-by") {
						continue
					}
				}
				if line != "" && !boilerplate.MatchString(line) {
					kept = append(kept, line)
				}
			}
			if text == "" {
				text = strings.Join(kept, " ")
			}
		}
	}
	return clip(text)
}

func clip(s string) string {
	if len(s) <= maxRationale {
		return s
	}
	return strings.ToValidUTF8(s[:maxRationale], "")
}
