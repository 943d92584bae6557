package run

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

// ResolveSecrets replaces {env: NAME} and {file: /path} by the secrets that they name. The errors name the
// reference, never its value. A reader doesn't need the credential for applying: without applying, all
// settings that begin with connectors.ApplyPrefix are left out where one of their secrets is not there.
func ResolveSecrets(config map[string]any, applying bool) (map[string]any, error) {
	if !applying {
		isApply := func(k string, _ any) bool { return strings.HasPrefix(k, connectors.ApplyPrefix) }
		own := maps.Clone(config)
		maps.DeleteFunc(own, func(k string, v any) bool { return !isApply(k, v) })
		if _, err := resolve(own); err != nil {
			config = maps.Clone(config)
			maps.DeleteFunc(config, isApply)
		}
	}
	return resolve(config)
}

func resolve(config map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(config))
	for _, k := range slices.Sorted(maps.Keys(config)) {
		switch v := config[k].(type) {
		case map[string]any:
			secret, isRef, err := secretOf(v)
			if err != nil {
				return nil, fmt.Errorf("config.%s: %w", k, err)
			}
			if isRef {
				out[k] = secret
				continue
			}
			nested, err := resolve(v)
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

func secretOf(v map[string]any) (connectors.Secret, bool, error) {
	if len(v) != 1 {
		return connectors.Secret{}, false, nil
	}
	if name, ok := v["env"].(string); ok {
		value, set := os.LookupEnv(name)
		if !set || value == "" {
			return connectors.Secret{}, true, fmt.Errorf("the environment variable %s is not set; export it where countersign runs", name)
		}
		return connectors.NewSecret(value), true, nil
	}
	if name, ok := v["file"].(string); ok {
		b, err := os.ReadFile(filepath.Clean(name))
		if err != nil {
			return connectors.Secret{}, true, fmt.Errorf("read the secret: %w", err)
		}
		return connectors.NewSecret(strings.TrimRight(string(b), "\r\n")), true, nil
	}
	return connectors.Secret{}, false, nil
}

// Secret resolves a reference to a secret. The errors name the reference, never its value.
func Secret(ref schemas.SecretReference) (connectors.Secret, error) {
	m := map[string]any{}
	if ref.Env != "" {
		m["env"] = ref.Env
	}
	if ref.File != "" {
		m["file"] = ref.File
	}
	s, ok, err := secretOf(m)
	if err == nil && !ok {
		err = errors.New("it names no secret")
	}
	return s, err
}
