package casbin

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/casbin/casbin/v2/model"

	"github.com/countersign/countersign/connectors"
)

//go:embed rbac.conf
var rbac string

// Model is the casbin model of the stores that this package makes, for the enforcers that use them.
func Model() string { return rbac }

// The types of connections, resources and identities.
const (
	TypeRole   = "role"
	TypeGroup  = "group"
	TypeUser   = "user"
	TypeObject = "object"
)

// Connector is the connector for casbin policy files.
type Connector struct{}

var _ connectors.Connector = Connector{}

// New returns the connector.
func New() connectors.Connector { return Connector{} }

const configSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {
    "policy": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "The CSV policy file: absolute, or relative to the access repository and within it."},
    "model": {"type": "string", "minLength": 1, "maxLength": 4096, "default": "rbac", "description": "rbac for the built-in model, or a model file with the same sections p, p2, p3, p4 and g."},
    "actions": {"type": "array", "minItems": 1, "maxItems": 100, "uniqueItems": true, "default": ["read", "write", "delete", "admin"],
      "items": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}$"}, "description": "The actions that may be granted on objects. The first is the default."}
  },
  "required": ["policy"],
  "additionalProperties": false
}`

const payloadSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {
    "title": {"type": "string", "maxLength": 200, "description": "What people call it. Left alone when absent."},
    "description": {"type": "string", "maxLength": 2000, "default": "", "description": "What it is for."},
    "critical": {"type": "boolean", "default": false, "description": "Marks it for those who review access: its holders can do lasting harm."}
  },
  "additionalProperties": false
}`

const planScript = `# Reading needs the policy file alone. As its owner:
#   POLICY=/srv/app/policy.csv PLAN_USER=countersign-plan sh plan.sh
setfacl -m "u:${PLAN_USER:?}:r" "${POLICY:?}"
setfacl -m "u:${PLAN_USER}:x" "$(dirname "$POLICY")"
`

const applyScript = `# Applying replaces the policy file by a rename, which needs its folder. As its owner:
#   POLICY=/srv/app/policy.csv APPLY_USER=countersign-apply sh apply.sh
# Run countersign as the file's owner where the file must keep it: only root gives files away.
setfacl -m "u:${APPLY_USER:?}:rw" "${POLICY:?}"
setfacl -m "u:${APPLY_USER}:rwx" "$(dirname "$POLICY")"
`

func defaultActions() []string { return []string{"read", "write", "delete", "admin"} }

// namePattern keeps out what casbin cannot take back: it joins fields with commas to tell rules apart
// and writes them without quotes.
const namePattern = `[^\p{C}\p{Z},"](?:[^\p{C}\p{Zl}\p{Zp},"]*[^\p{C}\p{Z},"])?`

const maxNameBytes = 255

func nameRule() connectors.NameRule {
	return connectors.NameRule{MaxBytes: maxNameBytes, Pattern: namePattern}
}

var (
	validName   = regexp.MustCompile(`\A(?:` + namePattern + `)\z`)
	validAction = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}\z`)
)

// Describe says what the connector can do with the default actions. A config may name other ones.
func (Connector) Describe() connectors.Description { return describe(defaultActions()) }

func describe(actions []string) connectors.Description {
	member := func(typ string, edge connectors.Edge, grant bool) connectors.GrantableType {
		return connectors.GrantableType{Type: typ, Edge: edge, Privileges: []string{"MEMBER"}, Default: []string{"MEMBER"},
			Names: nameRule(), Grant: grant, Revoke: true}
	}
	object := connectors.GrantableType{Type: TypeObject, Edge: connectors.EdgeResource, Privileges: slices.Clone(actions),
		Default: []string{actions[0]}, Names: nameRule(), Grant: true, Revoke: true}
	if slices.Contains(actions, "admin") {
		object.PrivilegedPrivileges = []string{"admin"}
	}
	connection := func(name, title string, grantable ...connectors.GrantableType) connectors.ConnectionType {
		return connectors.ConnectionType{Name: name, Title: title, Payload: json.RawMessage(payloadSchema), Create: true, Update: true,
			Delete: true, Names: nameRule(), Grantable: append([]connectors.GrantableType{object}, grantable...)}
	}
	return connectors.Description{
		Name: "casbin", Title: "Casbin policy file", Config: json.RawMessage(configSchema),
		Types: []connectors.ConnectionType{
			connection(TypeGroup, "Group", member(TypeUser, connectors.EdgeIdentity, true), member(TypeGroup, connectors.EdgeMember, true),
				member(TypeRole, connectors.EdgeConnection, true)),
			// A role in a group is somebody else's making: it can be taken away, and nobody should ask for it.
			connection(TypeRole, "Role", member(TypeUser, connectors.EdgeIdentity, true), member(TypeRole, connectors.EdgeConnection, true),
				member(TypeGroup, connectors.EdgeConnection, false)),
		},
		PlanScript: planScript, ApplyScript: applyScript,
	}
}

// settings are a config that was checked.
type settings struct {
	path    string // of the policy file, links resolved
	model   model.Model
	actions []string
	now     func() time.Time
	logger  *slog.Logger
}

// OpenReader checks the config and finds the files. The policy file is read by each call anew.
func (Connector) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return open(ctx, cfg)
}

// OpenWriter checks the config and finds the files.
func (Connector) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &writer{reader: s}, nil
}

func open(ctx context.Context, cfg connectors.Config) (*reader, error) {
	const op = "open the policy file"
	if err := ended(ctx, op); err != nil {
		return nil, err
	}
	s := settings{actions: defaultActions(), now: cfg.Now, logger: cfg.Logger}
	policy, modelPath := "", "rbac"
	for key, v := range cfg.Values {
		ok := true
		switch key {
		case "policy":
			policy, ok = v.(string)
		case "model":
			modelPath, ok = v.(string)
		case "actions":
			s.actions, ok = texts(v)
			for _, a := range s.actions {
				ok = ok && validAction.MatchString(a)
			}
			ok = ok && len(s.actions) > 0
		default:
			return nil, fault(connectors.Invalid, op, "the config has a setting that casbin does not know", nil)
		}
		if !ok {
			return nil, fault(connectors.Invalid, op, "config."+key+" has a wrong form", nil)
		}
	}
	if policy == "" {
		return nil, fault(connectors.Invalid, op, "config.policy is missing", nil)
	}
	var err error
	if s.path, err = locate(cfg.Directory, policy); err != nil {
		return nil, pathFault(op, "config.policy", err)
	}
	if s.model, err = loadModel(cfg.Directory, modelPath); err != nil {
		return nil, err
	}
	return &reader{s: s, d: describe(s.actions)}, nil
}

// texts are a list of distinct texts, as it comes from YAML or from Go.
func texts(v any) ([]string, bool) {
	var out []string
	switch v := v.(type) {
	case []string:
		out = slices.Clone(v)
	case []any:
		for _, item := range v {
			text, ok := item.(string)
			if !ok {
				return nil, false
			}
			out = append(out, text)
		}
	}
	unique := slices.Compact(slices.Sorted(slices.Values(out)))
	return out, len(unique) == len(out)
}

var (
	errOutside = errors.New("the path leads out of the access repository; name the file by its absolute path if that is meant")
	errBare    = errors.New("the path is relative, and there is no folder that it starts from; name the file by its absolute path")
)

// locate finds a file with all links resolved, since a rename would replace the link. A relative path
// stays within the directory, also by way of links: files in Git choose it.
func locate(directory, path string) (string, error) {
	relative := !filepath.IsAbs(path)
	if relative {
		if directory == "" {
			return "", errBare
		}
		if !filepath.IsLocal(path) {
			return "", errOutside
		}
		path = filepath.Join(directory, path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	if relative {
		root, err := filepath.EvalSymlinks(directory)
		if err != nil {
			return "", err
		}
		inside, err := filepath.Rel(root, real)
		if err != nil || !filepath.IsLocal(inside) {
			return "", errOutside
		}
	}
	info, err := os.Stat(real)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errIrregular
	}
	return filepath.Abs(real)
}

var errIrregular = errors.New("it is no regular file")

// pathFault is the typed form of what went wrong with a file.
func pathFault(op, what string, err error) error {
	switch {
	case errors.Is(err, errOutside), errors.Is(err, errBare), errors.Is(err, errIrregular):
		return fault(connectors.Invalid, op, what+": "+err.Error(), nil)
	case errors.Is(err, fs.ErrNotExist):
		return fault(connectors.Unavailable, op, what+": there is no such file, and a missing store is not an empty one: correct config.policy, or put the file there", err)
	case errors.Is(err, fs.ErrPermission):
		return fault(connectors.Denied, op, what+": this account may not use the file or its folder", err)
	}
	return fault(connectors.Unavailable, op, what+": the file cannot be used", err)
}

// loadModel loads a model and makes sure that the store's lines are rules of it.
func loadModel(directory, name string) (model.Model, error) {
	const op = "load the casbin model"
	text := rbac
	if name != "rbac" {
		path, err := locate(directory, name)
		if err != nil {
			return nil, pathFault(op, "config.model", err)
		}
		content, err := os.ReadFile(filepath.Clean(path))
		if err != nil {
			return nil, pathFault(op, "config.model", err)
		}
		text = string(content)
	}
	m, err := model.NewModelFromString(text)
	if err != nil {
		return nil, fault(connectors.Invalid, op, "casbin refuses the model", err)
	}
	for ptype, want := range map[string]string{"p": "sub obj act", "p2": "sub kind title description critical", "p3": "sub", "p4": "obj"} {
		a, err := m.GetAssertion("p", ptype)
		if err != nil || strings.ReplaceAll(strings.Join(a.Tokens, " "), ptype+"_", "") != want {
			return nil, fault(connectors.Unsupported, op,
				fmt.Sprintf("the model needs the line %q in [policy_definition]", ptype+" = "+strings.ReplaceAll(want, " ", ", ")), err)
		}
	}
	if a, err := m.GetAssertion("g", "g"); err != nil || strings.Count(a.Value, "_") != 2 {
		return nil, fault(connectors.Unsupported, op, `the model needs the line "g = _, _" in [role_definition]`, err)
	}
	return m, nil
}

func fault(code connectors.Code, op, message string, err error) error {
	return &connectors.Error{Code: code, Op: op, Message: message, Err: err}
}

// ended says that the context has ended.
func ended(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return fault(connectors.Unavailable, op, "stopped: "+err.Error(), err)
	}
	return nil
}
