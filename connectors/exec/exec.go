package exec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Config binds a connector's name to an executable.
type Config struct {
	// Name is the name for spec.connector: lower-case letters, digits and underscores.
	Name string
	// Path is the executable, absolute; Args follow it.
	Path string
	Args []string
	// Env is the child's complete environment, as NAME=VALUE.
	Env []string
	// User is whom a child runs as, which needs root; nil is the user of this process. Only another user keeps connectors
	// from reading one another's memory.
	User *User
	// Limits bound a child. Zero values mean the defaults.
	Limits Limits
	// Logger receives children's output; nil discards it.
	Logger *slog.Logger

	// inProcess replaces a child in tests of the protocol: it returns when its input ends.
	inProcess func(in io.Reader, out io.Writer)
}

// User is a user of the system.
type User struct{ UID, GID uint32 }

// Limits bound a child.
type Limits struct {
	// Start is the time to begin, to describe itself and to open the application; 30 s by default.
	Start time.Duration
	// Call is the time for one answer, and while applying for one outcome; 10 min by default. A context that ends
	// earlier ends it earlier.
	Call time.Duration
	// Grace is the time to stop after the context has ended, and Close to end after being closed; 10 s and 5 s.
	Grace, Close time.Duration
	// Line bounds a line in bytes (8 MiB), Answer all lines of an answer (256 MiB).
	Line   int
	Answer int64
	// Batch bounds the operations of one request; 1,000 by default.
	Batch int
	// Memory bounds each process's data in bytes, and half of what all of a child's processes use together, where the
	// system can (Linux); 1 GiB by default.
	Memory int64
	// Processes bounds a child's processes, itself included, where the system can (Linux); 64.
	Processes int
	// Children bounds how many children of the connector there are at a time; 64.
	Children int
	// LogLines bounds the lines of a child's standard error in the log; 1,000.
	LogLines int
}

func (l Limits) withDefaults() Limits {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	number := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	def(&l.Start, 30*time.Second)
	def(&l.Call, 10*time.Minute)
	def(&l.Grace, 10*time.Second)
	def(&l.Close, 5*time.Second)
	number(&l.Line, 8<<20)
	number(&l.Batch, 1000)
	number(&l.Processes, 64)
	number(&l.Children, 64)
	number(&l.LogLines, 1000)
	if l.Answer <= 0 {
		l.Answer = 256 << 20
	}
	if l.Memory <= 0 {
		l.Memory = 1 << 30
	}
	return l
}

// watchEvery is how often the processes of a child are counted.
const watchEvery = time.Second

// connector is the connector of one executable.
type connector struct {
	program     Config
	description schemas.Description
	config      *jsonschema.Schema
	secrets     map[string]bool // settings of the top level that are secrets
	children    *atomic.Int64
}

var _ connectors.Connector = (*connector)(nil)

var word = regexp.MustCompile(`\A[a-z][a-z0-9_]*\z`)

func (c *Config) check() error {
	invalid := func(format string, args ...any) error {
		return &connectors.Error{Code: connectors.Invalid, Op: "bind a connector", Message: fmt.Sprintf(format, args...)}
	}
	switch {
	case !word.MatchString(c.Name):
		return invalid("invalid connector name %q (expected lower-case letters, digits and underscores, beginning with a letter)", c.Name)
	case !filepath.IsAbs(c.Path):
		return invalid("the executable of %s is not an absolute path", c.Name)
	case !supported:
		return &connectors.Error{Code: connectors.Unsupported, Op: "bind a connector", Message: "external connectors need a Unix system"}
	}
	c.Limits = c.Limits.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// New starts the executable once for its description, and returns its connector. The errors are *connectors.Error.
func New(ctx context.Context, c Config) (connectors.Connector, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	k := &connector{program: c, children: &atomic.Int64{}}
	p, err := start(ctx, &k.program, nil)
	if err != nil {
		return nil, err
	}
	k.description, err = k.describe(ctx, p, "describe")
	if err := errors.Join(err, p.close()); err != nil {
		return nil, err
	}
	if k.description.Version != "" {
		return nil, p.violation("the description has a version although no application is open")
	}
	if k.config, err = connectors.CompileSchema(connectors.WithoutSecrets(k.description.Config)); err != nil {
		return nil, p.violation("invalid config schema")
	}
	k.secrets = connectors.SecretSettings(k.description.Config)
	return k, nil
}

// hello agrees on the protocol's version.
func (k *connector) hello(ctx context.Context, p *process) (*schemas.ConnectorWelcome, error) {
	var w *schemas.ConnectorWelcome
	err := p.call(ctx, &schemas.ConnectorRequest{Type: "hello", Hello: &schemas.ConnectorHello{Versions: []int{schemas.ConnectorProtocol}}},
		p.limits.Start, false, func(a *schemas.ConnectorAnswer) (bool, error) {
			switch {
			case a.Type != "hello":
				return false, p.violation("unexpected answer of type %s (expected hello)", a.Type)
			case a.Hello.Version != schemas.ConnectorProtocol:
				return false, p.violation("unknown protocol version %d (expected %d)", a.Hello.Version, schemas.ConnectorProtocol)
			}
			w = a.Hello
			return true, nil
		})
	return w, err
}

// describe asks for a description, static or of the installation.
func (k *connector) describe(ctx context.Context, p *process, request string) (schemas.Description, error) {
	if request == "describe" {
		if _, err := k.hello(ctx, p); err != nil {
			return schemas.Description{}, err
		}
	}
	var d schemas.Description
	err := p.call(ctx, &schemas.ConnectorRequest{Type: request}, p.limits.Start, false, func(a *schemas.ConnectorAnswer) (bool, error) {
		if a.Type != "description" {
			return false, p.violation("unexpected answer of type %s (expected description)", a.Type)
		}
		var err error
		d, err = description(k.program.Name, a.Description)
		if err != nil {
			return false, p.violation("its description: %v", err)
		}
		d.Title, d.Version = p.say(d.Title, maxMessage), p.say(d.Version, maxMessage)
		if faults := append(connectors.Faults(d), nameFaults(d)...); len(faults) > 0 {
			return false, p.violation("its description: %s", p.say(strings.Join(faults, "; "), maxMessage))
		}
		return true, nil
	})
	return d, err
}

// Describe returns the executable's description from when it was bound.
func (k *connector) Describe() schemas.Description { return k.description }

// OpenReader starts a child in read mode, without the settings whose names begin with apply_.
func (k *connector) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return connectors.Guard(k.open(ctx, cfg, "read"))
}

// OpenWriter starts a child that may be asked to apply.
func (k *connector) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	return connectors.GuardWriter(k.open(ctx, cfg, "write"))
}

func (k *connector) open(ctx context.Context, cfg connectors.Config, mode string) (_ *session, err error) {
	op := "open " + k.program.Name
	values, secrets, err := k.reveal(op, cfg.Values)
	if err != nil {
		return nil, err
	}
	if mode == "read" {
		maps.DeleteFunc(values, func(name string, _ any) bool { return strings.HasPrefix(name, connectors.ApplyPrefix) })
	}
	if n := k.children.Add(1); n > int64(k.program.Limits.Children) {
		k.children.Add(-1)
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: fmt.Sprintf("all %d children of the connector are in use", n-1), RetryAfter: time.Second}
	}
	c := k.program
	if cfg.Logger != nil {
		c.Logger = cfg.Logger.With("application", cfg.Application)
	}
	p, err := start(ctx, &c, secrets)
	if err != nil {
		k.children.Add(-1)
		return nil, err
	}
	s := &session{connector: k, process: p, now: cfg.Now}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	welcome, err := k.hello(ctx, p)
	if err != nil {
		return nil, err
	}
	s.normalizes, s.batch = welcome.Normalizes, k.program.Limits.Batch
	if welcome.Batch > 0 {
		s.batch = min(s.batch, welcome.Batch)
	}
	open := &schemas.ConnectorOpen{Mode: mode, Application: cfg.Application, Directory: cfg.Directory, Config: values}
	if open.Directory != "" {
		if open.Directory, err = filepath.Abs(open.Directory); err != nil {
			return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "the access repository's folder was not found", Err: err}
		}
	}
	if err := p.call(ctx, &schemas.ConnectorRequest{Type: "open", Open: open}, p.limits.Start, false, p.done(nil)); err != nil {
		return nil, err
	}
	if s.description, err = k.describe(ctx, p, "describe_installation"); err != nil {
		return nil, err
	}
	if faults := connectors.Exceeds(s.description, k.description); len(faults) > 0 {
		return nil, p.fail(p.violation("%s", p.say(strings.Join(faults, "; "), maxMessage)))
	}
	if s.checker, err = connectors.NewChecker(s.description); err != nil {
		return nil, p.fail(p.violation("invalid payload schema"))
	}
	s.attributes = map[string]map[string]bool{}
	for _, t := range s.description.Types {
		s.attributes[t.Name] = t.Attributes()
	}
	return s, nil
}

// reveal checks a config against the schema, and returns it in the child's form, with the secrets that it contains.
func (k *connector) reveal(op string, values map[string]any) (plain map[string]any, secrets []string, err error) {
	invalid := func(format string, args ...any) error {
		return &connectors.Error{Code: connectors.Invalid, Op: op, Message: fmt.Sprintf(format, args...)}
	}
	plain = reveal(values, &secrets)
	for name, v := range values {
		if _, ok := v.(connectors.Secret); ok && !k.secrets[name] {
			return nil, nil, invalid("the config has a secret in a setting that isn't secret")
		}
	}
	if err := k.config.Validate(generic(plain)); err != nil {
		return nil, nil, invalid("the config doesn't match the connector's schema; countersign validate shows where, and countersign schema %s shows the schema", k.program.Name)
	}
	return plain, secrets, nil
}

// reveal copies values with their secrets as strings.
func reveal(values map[string]any, secrets *[]string) map[string]any {
	var one func(any) any
	one = func(v any) any {
		switch v := v.(type) {
		case connectors.Secret:
			*secrets = append(*secrets, v.Reveal())
			return v.Reveal()
		case map[string]any:
			out := make(map[string]any, len(v))
			for k, item := range v {
				out[k] = one(item)
			}
			return out
		case []any:
			out := make([]any, len(v))
			for i, item := range v {
				out[i] = one(item)
			}
			return out
		}
		return v
	}
	out, _ := one(values).(map[string]any)
	if out == nil {
		out = map[string]any{}
	}
	return out
}

// nameFaults lists where a description accepts names that the protocol doesn't.
func nameFaults(d schemas.Description) []string {
	var faults []string
	check := func(what string, r schemas.NameRule) {
		if r.Pattern == "" || r.Check("") == nil || slices.ContainsFunc([]string{"a\tb", "a\nb", "\n", "a\x00b", "\x1b[1m", "a\x7fb", "a\u0085b", "a\u2028b"}, func(n string) bool { return r.Check(n) == nil }) {
			faults = append(faults, what+`: its pattern matches the empty name or control characters (expected one such as [^\p{C}\p{Zl}\p{Zp}]+)`)
		}
	}
	for _, t := range d.Types {
		check("names of "+t.Name, t.Names)
		for _, g := range t.Grantable {
			check("names of "+t.Name+"'s "+g.Type, g.Names)
		}
	}
	return faults
}
