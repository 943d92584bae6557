package github

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/schemas"
)

// job is a job of a GitHub Actions workflow. A runner's variable has its effect only where it is set.
// https://docs.github.com/en/actions/reference/workflows-and-actions/variables
type job struct{ getenv func(string) string }

var _ forge.Job = job{}

func newJob(getenv func(string) string) forge.Job { return job{getenv} }

// URL leads to the log of the workflow's run.
func (j job) URL() string {
	if id := j.getenv("GITHUB_RUN_ID"); id != "" {
		return fmt.Sprintf("%s/%s/actions/runs/%s", strings.TrimSuffix(j.getenv(envServer), "/"), j.getenv("GITHUB_REPOSITORY"), url.PathEscape(id))
	}
	return ""
}

// Report writes the outputs for the next steps, and the summary of the job.
func (j job) Report(p *schemas.Preview, out *forge.Published, redact bool) error {
	counts := map[schemas.OperationKind]int{}
	for _, x := range p.Plan.Applications {
		for _, o := range x.Operations {
			counts[o.Kind]++
		}
	}
	denies := 0
	if p.Decision != nil {
		denies = len(p.Decision.Denials)
	}
	lines := fmt.Sprintf("verdict=%s\nplan-digest=%s\ncontent-digest=%s\ncomment-id=%d\ncreates=%d\ngrants=%d\nrevokes=%d\ndeletes=%d\ndenies=%d\n", p.Verdict, p.Plan.Digest, p.ContentDigest, out.Comment,
		counts[schemas.OperationCreate], counts[schemas.OperationGrant], counts[schemas.OperationRevoke], counts[schemas.OperationDelete], denies)
	if dir := j.getenv("RUNNER_TEMP"); dir != "" && !redact {
		path := filepath.Join(dir, "countersign-preview.json")
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := errors.Join(report.JSON(f, p), f.Close()); err != nil {
			return err
		}
		lines += "plan-json=" + path + "\n"
	}
	var summary strings.Builder
	if err := report.Markdown(&summary, p, report.Options{Redact: redact}); err != nil {
		return err
	}
	return errors.Join(j.appendTo("GITHUB_OUTPUT", lines), j.appendTo("GITHUB_STEP_SUMMARY", summary.String()))
}

// appendTo writes to the file that an environment variable names; nothing without one.
func (j job) appendTo(name, text string) error {
	path := j.getenv(name)
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Guard keeps the runner from taking what requesters wrote for commands.
func (j job) Guard(w io.Writer, isJSON func() bool) (io.Writer, func()) {
	if j.getenv("GITHUB_ACTIONS") != "true" {
		return w, func() {}
	}
	g := &guard{out: w, isJSON: isJSON}
	return g, g.flush
}

// guard changes what the runner would take for a command: it looks for commands in every line that is printed. In JSON
// the sign is written as an escape, which reads the same.
// https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
type guard struct {
	out    io.Writer
	isJSON func() bool
	line   []byte
}

// Write passes complete lines on.
func (g *guard) Write(b []byte) (int, error) {
	g.line = append(g.line, b...)
	end := bytes.LastIndexByte(g.line, '\n') + 1
	if end == 0 && len(g.line) < 1<<20 {
		return len(b), nil
	}
	if end == 0 {
		end = len(g.line)
	}
	text := g.quiet(string(g.line[:end]))
	g.line = append(g.line[:0], g.line[end:]...)
	if _, err := io.WriteString(g.out, text); err != nil {
		return 0, err
	}
	return len(b), nil
}

// flush passes on a last line without an end.
func (g *guard) flush() {
	if len(g.line) > 0 {
		_, _ = io.WriteString(g.out, g.quiet(string(g.line))) // nobody is left to be told
		g.line = nil
	}
}

func (g *guard) quiet(s string) string {
	if g.isJSON() {
		return strings.ReplaceAll(s, "##[", `##\u005b`)
	}
	s = strings.ReplaceAll(s, "##[", "##U+005B")
	lines := strings.SplitAfter(s, "\n")
	for i, l := range lines {
		if at := strings.Index(l, "::"); at >= 0 && strings.TrimSpace(l[:at]) == "" {
			lines[i] = l[:at] + "U+003A:" + l[at+2:]
		}
	}
	return strings.Join(lines, "")
}
