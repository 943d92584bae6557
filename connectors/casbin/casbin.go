package casbin

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/casbin/casbin/v2/model"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

//go:embed rbac.conf
var rbac string

// Model returns the casbin model of the stores that this package creates, for enforcers that use them.
func Model() string { return rbac }

// Connector is the connector for casbin policy files.
type Connector struct{}

var (
	_ connectors.Connector  = Connector{}
	_ connectors.Configured = Connector{}
)

// New returns the connector.
func New() connectors.Connector { return Connector{} }

// Describe describes the connector with the default actions. The config can list others.
func (Connector) Describe() schemas.Description { return describe(defaultActions()) }

// DescribeConfig describes an application with the actions of its configuration, which are what may be granted.
func (Connector) DescribeConfig(values map[string]any) (schemas.Description, error) {
	listed, ok := values["actions"]
	if !ok {
		return describe(defaultActions()), nil
	}
	bad := func() (schemas.Description, error) {
		return schemas.Description{}, &connectors.Error{Code: connectors.Invalid, Op: "describe the application", Message: "config.actions is not a list of names: list the actions that may be granted on objects"}
	}
	list, ok := listed.([]any)
	if !ok || len(list) == 0 {
		return bad()
	}
	var actions []string
	for _, v := range list {
		s, ok := v.(string)
		if !ok {
			return bad()
		}
		actions = append(actions, s)
	}
	return describe(actions), nil
}

// settings are spec.config.
type settings struct {
	Policy  string   `json:"policy"`
	Model   string   `json:"model"`
	Actions []string `json:"actions"`

	path   string // of the policy file, with links resolved
	model  model.Model
	now    func() time.Time
	logger *slog.Logger
}

// OpenReader checks the config and finds the files. The policy file is read again by each call.
func (Connector) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return connectors.Guard(open(ctx, cfg))
}

// OpenWriter checks the config and finds the files.
func (Connector) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	r, err := open(ctx, cfg)
	return connectors.GuardWriter(&writer{reader: r}, err)
}

func open(ctx context.Context, cfg connectors.Config) (*reader, error) {
	const op = "open the policy file"
	if err := connectors.Stopped(ctx, op); err != nil {
		return nil, err
	}
	s := settings{now: cfg.Now, logger: cfg.Logger}
	if err := connectors.Bind(cfg, json.RawMessage(configSchema), &s); err != nil {
		return nil, err
	}
	var err error
	if s.path, err = locate(cfg.Directory, s.Policy); err != nil {
		return nil, pathFault(op, "config.policy", err)
	}
	if s.model, err = loadModel(cfg.Directory, s.Model); err != nil {
		return nil, err
	}
	return &reader{settings: s, description: describe(s.Actions)}, nil
}

// loadModel loads a model and checks that it defines the sections of the store's lines.
func loadModel(directory, name string) (model.Model, error) {
	const op = "load the casbin model"
	text := rbac
	if name != "rbac" {
		path, err := locate(directory, name)
		if err != nil {
			return nil, pathFault(op, "config.model", err)
		}
		content, err := connectors.ReadFile(path, maxFile)
		if err != nil {
			return nil, pathFault(op, "config.model", err)
		}
		text = string(content)
	}
	m, err := model.NewModelFromString(text)
	if err != nil {
		return nil, fault(connectors.Invalid, op, "casbin rejects the model", err)
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
