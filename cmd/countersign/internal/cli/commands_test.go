package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// invoke runs a command line and returns its exit code and outputs.
func invoke(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := Environment{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Getenv: func(string) string { return "" }, Executable: os.Executable,
		Now: func() time.Time { return time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC) }, Width: textWidth}
	code = Main(t.Context(), args, env)
	return code, stdout.String(), stderr.String()
}

// commands lists all commands that people call, the root first.
func commands() []*cobra.Command {
	var list []*cobra.Command
	var add func(*cobra.Command)
	add = func(c *cobra.Command) {
		list = append(list, c)
		for _, sub := range c.Commands() {
			if sub.Name() != policyChildCommand {
				add(sub)
			}
		}
	}
	add(newRootCommand(&app{format: formatText}))
	return list
}

// TestHelpPages reads the help of every command: it has an example and fits 80 columns.
func TestHelpPages(t *testing.T) {
	t.Parallel()
	for _, c := range commands() {
		path := strings.Fields(c.CommandPath())[1:]
		t.Run(strings.Join(path, " "), func(t *testing.T) {
			t.Parallel()
			code, out, errs := invoke(t, append(path, "--help")...)
			if code != 0 || errs != "" {
				t.Fatalf("exit code %d, %s", code, errs)
			}
			if !strings.Contains(out, "\nExamples:\n  countersign") {
				t.Errorf("no example in\n%s", out)
			}
			if c.Short == "" || strings.HasSuffix(c.Short, ".") {
				t.Errorf("short help %q: expected a phrase without a full stop", c.Short)
			}
			for l := range strings.Lines(out) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > textWidth {
					t.Errorf("%d columns: %q", n, l)
				}
			}
			// help COMMAND is the same.
			if _, same, _ := invoke(t, append([]string{"help"}, path...)...); same != out {
				t.Errorf("help %s prints\n%s\nand --help\n%s", strings.Join(path, " "), same, out)
			}
		})
	}
}

// TestFlagsOnlyWhereUsed holds each command to the flags of this table.
func TestFlagsOnlyWhereUsed(t *testing.T) {
	t.Parallel()
	const (
		connectors = "exec exec-arg exec-env verbose"
		ledger     = "branch ledger-anchor ledger-branch ledger-key repo state verbose"
		judge      = ledger + " anchor secrets " + connectors
	)
	want := map[string]string{
		"":                   "",
		"access":             "application connection format identity resource to " + judge,
		"apply":              "application dry-run format publish redact to " + judge,
		"audit":              "",
		"audit entitlements": "application as-of exec exec-arg format " + ledger,
		"audit export":       "application as as-of exec exec-arg format manifest output pseudonyms since until " + ledger,
		"audit new-key":      "file repo state",
		"audit package":      "application as-of exec exec-arg output person pseudonyms sample seed since until " + ledger,
		"audit restart":      judge,
		"audit rotate-key":   "new-key " + judge,
		"audit take-over":    judge,
		"audit verify":       "count format head ledger public-key " + judge,
		"connector":          "",
		"connector list":     "format " + connectors,
		"connector test":     "config env format hand repo run secrets test-hand " + connectors,
		"demo":               "dir",
		"doctor":             "format " + judge,
		"drift":              "application enforce exit-code format publish redact to " + judge,
		"fulfil":             "application format message operation status " + judge,
		"init":               "connector github name repo " + connectors,
		"man":                "dir",
		"policy":             "",
		"policy rules":       "format",
		"policy test":        "coverage fail-under format repo run verbose",
		"preview":            "application base blind exit-code format full head pull-request redact status-on " + judge,
		"schema":             "format scripts " + connectors,
		"serve":              "forge listen poll previews redact repository webhook-secret-file " + judge,
		"status":             "application format to " + judge,
		"validate":           "format repo " + connectors,
		"version":            "format",
	}
	for _, c := range commands() {
		path := strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), "countersign"), " ")
		flags := ownFlags(c)
		expected, ok := want[path]
		if !ok {
			t.Errorf("command %q is not in the table", path)
			continue
		}
		list := strings.Fields(expected)
		slices.Sort(list)
		if list = slices.Compact(list); !slices.Equal(flags, list) {
			t.Errorf("%s has the flags %v, want %v", path, flags, list)
		}
	}
	if code, _, errs := invoke(t, "version", "--ledger-anchor", "x"); code != exitError || !strings.Contains(errs, "unknown flag: --ledger-anchor") {
		t.Errorf("version --ledger-anchor: exit code %d, %s", code, errs)
	}
}

// TestFormatsThatACommandHas refuses the others, and lists those it has.
func TestFormatsThatACommandHas(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, want string }{
		{"version --format markdown", "error: --format markdown: expected text or json\n"},
		{"audit export --format markdown", "error: --format markdown: expected jsonl, csv, records or json\n"},
		{"audit export --as text", "error: --format text: expected jsonl, csv or json\n"},
		{"audit verify --format markdown", "error: --format markdown: expected text or json\n"},
		{"status --format yaml", "error: --format yaml: expected text, markdown or json\n"},
		{"serve --format json", "error: unknown flag: --format; countersign serve --help lists the flags\n"},
		{"schema --format json", "error: --format json requires NAME; countersign schema lists the names\n"},
		{"policy test --format=", "error: --format : expected text or json\n"},
	} {
		code, out, errs := invoke(t, strings.Fields(tt.args)...)
		if code != exitError || errs != tt.want || out != "" {
			t.Errorf("%s: exit code %d, %q %q, want %q", tt.args, code, out, errs, tt.want)
		}
	}
}

// TestVersionFlag prints one line.
func TestVersionFlag(t *testing.T) {
	t.Parallel()
	code, out, _ := invoke(t, "--version")
	if code != 0 || out != "countersign "+programVersion()+"\n" {
		t.Errorf("exit code %d, %q", code, out)
	}
}

// TestManualPages has one for every command.
func TestManualPages(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man1")
	if code, _, errs := invoke(t, "man", "--dir", dir); code != 0 {
		t.Fatalf("exit code %d, %s", code, errs)
	}
	for _, c := range commands() {
		if c.Hidden {
			continue
		}
		name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".1"
		page, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, want := range []string{`.TH "` + strings.ToUpper(strings.TrimSuffix(name, ".1")) + `" "1" "Nov 2026"`, ".SH SYNOPSIS", ".SH EXAMPLE"} {
			if !strings.Contains(string(page), want) {
				t.Errorf("%s lacks %s", name, want)
			}
		}
	}
}

// ownFlags are the names of a command's flags, but for those of every command.
func ownFlags(c *cobra.Command) []string {
	names := []string{}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && f.Name != "version" {
			names = append(names, f.Name)
		}
	})
	slices.Sort(names)
	return names
}
