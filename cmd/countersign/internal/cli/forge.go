package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/github"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/ledger/branch"
	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/reconciler/server"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

// Where the forge is and as whom to speak is the operator's word, and so comes from the environment alone.
const (
	envToken        = "GITHUB_TOKEN"
	envAPI          = "GITHUB_API_URL"
	envServer       = "GITHUB_SERVER_URL"
	envApp          = "COUNTERSIGN_APP_ID"
	envInstallation = "COUNTERSIGN_APP_INSTALLATION_ID"
	envKey          = "COUNTERSIGN_APP_PRIVATE_KEY"
	envKeyFile      = "COUNTERSIGN_APP_PRIVATE_KEY_FILE"
)

const forgeHelp = `
At GitHub, the token comes from GITHUB_TOKEN, or the identity of an App from
COUNTERSIGN_APP_ID, COUNTERSIGN_APP_INSTALLATION_ID and
COUNTERSIGN_APP_PRIVATE_KEY (or _FILE). GITHUB_API_URL and GITHUB_SERVER_URL
name a GitHub Enterprise Server.`

// client speaks to a repository at GitHub.
func (a *app) client(repository string) (*github.Client, error) {
	c := github.Config{Repository: repository, URL: a.Getenv(envAPI), Now: a.Now, Logger: a.logger()}
	id := a.Getenv(envApp)
	if id == "" {
		if c.Token = a.Getenv(envToken); c.Token == "" {
			return nil, fmt.Errorf("the forge is GitHub: set %s (gh auth token prints yours), or %s, %s and %s for an App", envToken, envApp, envInstallation, envKey)
		}
		return github.New(c)
	}
	c.App = &github.App{Key: []byte(a.Getenv(envKey))}
	var err error
	if c.App.ID, err = strconv.ParseInt(id, 10, 64); err != nil {
		return nil, fmt.Errorf("%s is no number", envApp)
	}
	if c.App.Installation, err = strconv.ParseInt(a.Getenv(envInstallation), 10, 64); err != nil {
		return nil, fmt.Errorf("%s is no number: it stands in the address of the installation's settings", envInstallation)
	}
	if file := a.Getenv(envKeyFile); file != "" {
		if c.App.Key, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("%s: %w", envKeyFile, err)
		}
	}
	return github.New(c)
}

// forge opens the forge that settings name, for a reconciler.
func (a *app) forge(_ context.Context, s schemas.SettingsSpec) (signoff.Forge, error) {
	client, err := a.client(s.Forge.Repository)
	if err != nil {
		return nil, err
	}
	return client.Forge(s)
}

// site is a clone with its forge.
type site struct {
	client *github.Client
	remote history.Remote
	dir    string
	// branch is the reference of the settings' branch in the clone, spec what brings it there.
	branch, spec string
}

// site finds the forge of the settings that are trusted, which are those of the branch.
func (a *app) site(ctx context.Context, r *reconciler.Reconciler, repo *history.Repository) (*site, error) {
	name, ref, err := a.ownBranch(repo)
	if err != nil {
		return nil, err
	}
	c, err := r.Configuration(ctx, ref)
	if err != nil {
		return nil, err
	}
	if c.Settings.Forge.Kind != "github" {
		return nil, fmt.Errorf("%s: the forge is %s; there is nobody to tell", schemas.SettingsPath, c.Settings.Forge.Kind)
	}
	if c.Settings.Branch != name {
		return nil, fmt.Errorf("%s on the branch %s says that access is kept on %s: say --branch %s if that is so", schemas.SettingsPath, name, c.Settings.Branch, c.Settings.Branch)
	}
	s := &site{dir: repo.GitDir()}
	if s.client, err = a.client(c.Settings.Forge.Repository); err != nil {
		return nil, err
	}
	s.remote = history.Remote{URL: a.gitURL(c.Settings.Forge.Repository), Password: s.client.Password}
	// A work tree keeps its branches: what comes is kept beside them. A bare clone is ours.
	s.branch = "refs/heads/" + c.Settings.Branch
	if repo.WorkTree() != "" {
		s.branch = "refs/remotes/origin/" + c.Settings.Branch
	}
	s.spec = "refs/heads/" + c.Settings.Branch + ":" + s.branch
	return s, nil
}

func (a *app) gitURL(repository string) string {
	server := a.Getenv(envServer)
	if server == "" {
		server = "https://github.com"
	}
	return strings.TrimSuffix(server, "/") + "/" + repository + ".git"
}

func (s *site) fetch(ctx context.Context, refspecs ...string) error {
	_, err := history.Fetch(ctx, s.dir, s.remote, refspecs...)
	return err
}

// replica is the ledger's branch; nil without one. It is on the forge's repository, or on the remote origin.
func (a *app) replica(ctx context.Context, repo *history.Repository) (reconciler.Replica, error) {
	if a.ledgerBranch == "" {
		return nil, nil
	}
	c := branch.Config{Dir: filepath.Join(a.stateDir(repo), "ledger.git"), Name: a.ledgerBranch, Anchor: a.ledgerAnchor, Now: a.Now, Logger: a.logger(), Progress: a.progress, Holder: a.holder()}
	_, ref, err := a.ownBranch(repo)
	if err != nil {
		return nil, err
	}
	if s := settingsAt(ctx, repo, ref); s != nil && s.Spec.Forge.Kind == "github" {
		client, err := a.client(s.Spec.Forge.Repository)
		if err != nil {
			return nil, err
		}
		c.URL, c.Password = a.gitURL(s.Spec.Forge.Repository), client.Password
		return replicaOf(branch.New(c))
	}
	origin, err := history.Origin(repo.GitDir())
	if err != nil {
		return nil, fmt.Errorf("--ledger-branch: %w", err)
	}
	c.URL = origin
	return replicaOf(branch.New(c))
}

// replicaOf keeps a missing branch from becoming a replica that is not nil.
func replicaOf(b *branch.Branch, err error) (reconciler.Replica, error) {
	if err != nil {
		return nil, err
	}
	return b, nil
}

// holder says who runs, for whoever waits.
func (a *app) holder() string {
	if url := a.runURL(); url != "" {
		return url
	}
	host, err := os.Hostname()
	if err != nil {
		host = "a machine"
	}
	return fmt.Sprintf("process %d on %s", os.Getpid(), host)
}

// runURL leads to the log of a workflow's run; "" elsewhere.
func (a *app) runURL() string {
	if id := a.Getenv("GITHUB_RUN_ID"); id != "" {
		return fmt.Sprintf("%s/%s/actions/runs/%s", strings.TrimSuffix(a.Getenv(envServer), "/"), a.Getenv("GITHUB_REPOSITORY"), url.PathEscape(id))
	}
	return ""
}

// publishPreview previews a pull request and tells it there.
func (a *app) publishPreview(c *cobra.Command, r *reconciler.Reconciler, repo *history.Repository, p server.Preview) (*schemas.Preview, error) {
	s, err := a.site(c.Context(), r, repo)
	if err != nil {
		return nil, err
	}
	p.Reconciler, p.Forge, p.Fetch, p.Branch, p.BranchSpec, p.URL = r, s.client, s.fetch, s.branch, s.spec, a.runURL()
	preview, out, err := p.Run(c.Context())
	var moved *github.MovedError
	if errors.As(err, &moved) {
		// Nothing went wrong: somebody pushed, and that push has a preview of its own.
		fmt.Fprintln(a.Stderr, moved.Error())
		return nil, nil
	}
	if errors.Is(err, server.ErrClosed) {
		fmt.Fprintln(a.Stderr, err.Error())
		return nil, nil
	}
	if out != nil {
		for _, part := range out.Skipped {
			fmt.Fprintln(a.Stderr, "not published for want of a permission: "+part)
		}
		err = errors.Join(err, a.stepOutput(preview, out, p.Redact))
	}
	return preview, err
}

// stepOutput leaves a workflow's next steps what they can use, and the summary of the job.
func (a *app) stepOutput(p *schemas.Preview, out *github.Published, redact bool) error {
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
	if dir := a.Getenv("RUNNER_TEMP"); dir != "" && !redact {
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
	return errors.Join(a.appendTo("GITHUB_OUTPUT", lines), a.appendTo("GITHUB_STEP_SUMMARY", summary.String()))
}

// appendTo writes to the file that an environment variable names; nothing without one.
func (a *app) appendTo(name, text string) error {
	path := a.Getenv(name)
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

// muzzled keeps a workflow's runner from taking what requesters wrote for commands: it looks for them in every line
// that is printed. In JSON the sign is written as an escape, which reads the same.
// https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
type muzzled struct {
	w    io.Writer
	json func() bool
	line []byte
}

// Write passes whole lines on.
func (m *muzzled) Write(b []byte) (int, error) {
	m.line = append(m.line, b...)
	end := bytes.LastIndexByte(m.line, '\n') + 1
	if end == 0 && len(m.line) < 1<<20 {
		return len(b), nil
	}
	if end == 0 {
		end = len(m.line)
	}
	out := m.quiet(string(m.line[:end]))
	m.line = append(m.line[:0], m.line[end:]...)
	if _, err := io.WriteString(m.w, out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// close passes on what has no end of line.
func (m *muzzled) close() {
	if len(m.line) > 0 {
		_, _ = io.WriteString(m.w, m.quiet(string(m.line))) // nobody is left to be told
		m.line = nil
	}
}

func (m *muzzled) quiet(s string) string {
	if m.json() {
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

// muzzle is for a workflow's job alone.
func (a *app) muzzle() (release func()) {
	if a.Getenv("GITHUB_ACTIONS") != "true" {
		return func() {}
	}
	out := &muzzled{w: a.Stdout, json: func() bool { return a.format == "json" }}
	errs := &muzzled{w: a.Stderr, json: func() bool { return false }}
	a.Stdout, a.Stderr = out, errs
	return func() { out.close(); errs.close() }
}
