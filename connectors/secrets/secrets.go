// Package secrets resolves the references to secrets that files in Git have, {env: NAME} and {file: PATH}, within what
// the operator allows: without that, a file in Git could send any variable of this process to a host of its choice.
//
// It also knows every secret that it resolved, and takes them out of texts in all the forms in which services repeat
// them (Redactor). All output passes through it: reports, the ledger, logs and errors.
package secrets

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Config configures a Store.
type Config struct {
	// Allow are the glob patterns of the variables and files that references may name; none allows none. Only the
	// operator sets them: never a file in Git.
	Allow []string
	// Getenv reads a variable. nil is os.Getenv.
	Getenv func(string) string
}

// Store resolves references to secrets. It is safe for concurrent use.
type Store struct {
	Redactor
	config Config
}

// New returns a Store.
func New(c Config) *Store {
	if c.Getenv == nil {
		c.Getenv = os.Getenv
	}
	return &Store{config: c}
}

// Patterns splits a list of patterns at commas, without empty ones.
func Patterns(lists ...string) []string {
	var out []string
	for _, list := range lists {
		for p := range strings.SplitSeq(list, ",") {
			if p = strings.TrimSpace(p); p != "" {
				out = append(out, p)
			}
		}
	}
	return out
}

// maxFile is the limit on a secret's file in bytes. Keys and tokens have a few thousand.
const maxFile = 1 << 20

// own begins the names of the variables that configure countersign itself, its keys included. Patterns match them only
// if they begin so, too.
const own = "COUNTERSIGN_"

// Resolve replaces {env: NAME} and {file: PATH} by the secrets that they name. The errors name the reference, never its
// value. A reader doesn't need the credential for applying: without applying, all settings that begin with
// connectors.ApplyPrefix are left out if one of their secrets is missing.
func (s *Store) Resolve(config map[string]any, applying bool) (map[string]any, error) {
	if !applying {
		isApply := func(k string, _ any) bool { return strings.HasPrefix(k, connectors.ApplyPrefix) }
		own := maps.Clone(config)
		maps.DeleteFunc(own, func(k string, v any) bool { return !isApply(k, v) })
		if _, err := s.resolve(own); err != nil {
			config = maps.Clone(config)
			maps.DeleteFunc(config, isApply)
		}
	}
	return s.resolve(config)
}

func (s *Store) resolve(config map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(config))
	for _, k := range slices.Sorted(maps.Keys(config)) {
		switch v := config[k].(type) {
		case map[string]any:
			if ref, ok := reference(v); ok {
				secret, err := s.Secret(ref)
				if err != nil {
					return nil, fmt.Errorf("config.%s: %w", k, err)
				}
				out[k] = secret
				continue
			}
			nested, err := s.resolve(v)
			if err != nil {
				return nil, fmt.Errorf("config.%s: %w", k, err)
			}
			out[k] = nested
		default:
			out[k] = v
		}
	}
	return out, nil
}

func reference(v map[string]any) (ref schemas.SecretReference, ok bool) {
	if len(v) != 1 {
		return ref, false
	}
	if ref.Env, ok = v["env"].(string); !ok {
		ref.File, ok = v["file"].(string)
	}
	return ref, ok
}

// Secret resolves one reference. The errors name the reference, never its value.
func (s *Store) Secret(ref schemas.SecretReference) (connectors.Secret, error) {
	var value string
	switch {
	case ref.Env != "":
		if !s.allowed(ref.Env) {
			return connectors.Secret{}, notAllowed("the environment variable", ref.Env)
		}
		if value = s.config.Getenv(ref.Env); value == "" {
			return connectors.Secret{}, fmt.Errorf("the environment variable %s is not set; export it where countersign runs", ref.Env)
		}
	case ref.File != "":
		path := filepath.Clean(ref.File)
		if !filepath.IsAbs(path) {
			return connectors.Secret{}, fmt.Errorf("the secret's file %s: expected an absolute path", path)
		}
		if !s.allowed(path) {
			return connectors.Secret{}, notAllowed("the file", path)
		}
		b, err := connectors.ReadFile(path, maxFile)
		if err != nil {
			return connectors.Secret{}, fmt.Errorf("read the secret: %w", err)
		}
		value = strings.TrimRight(string(b), "\r\n")
	default:
		return connectors.Secret{}, errors.New("it names no secret")
	}
	s.Add(value)
	return connectors.NewSecret(value), nil
}

func (s *Store) allowed(name string) bool {
	patterns := s.config.Allow
	if strings.HasPrefix(name, own) {
		patterns = slices.DeleteFunc(slices.Clone(patterns), func(p string) bool { return !strings.HasPrefix(p, own) })
	}
	return schemas.Match(patterns, name)
}

func notAllowed(kind, name string) error {
	return fmt.Errorf("%s %s is not among the secrets that the operator allows; if it is one, start countersign with --secrets %s, or add it to COUNTERSIGN_SECRETS", kind, name, name)
}
