package suite

import (
	"context"
	"maps"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

// Hand is an outside hand in a process of its own.
type Hand interface {
	Do(context.Context, schemas.ConnectorTest) (schemas.ConnectorTestAnswer, error)
}

// FromHand builds a harness from a connector and a hand. cfg is the config without its values.
func FromHand(ctx context.Context, c connectors.Connector, hand Hand, cfg connectors.Config) (harness.Harness, error) {
	a, err := hand.Do(ctx, schemas.ConnectorTest{Do: "harness"})
	if err != nil {
		return harness.Harness{}, err
	}
	known := schemas.ConnectorHarness{}
	if a.Harness != nil {
		known = *a.Harness
	}
	h := harness.Harness{Connector: c, Payloads: map[string][2]map[string]any{}, Serial: known.Serial}
	for typ, list := range known.Payloads {
		if len(list) != 2 {
			return h, &connectors.Error{Code: connectors.Invalid, Op: "outside hand", Message: "expected two payloads for " + typ}
		}
		h.Payloads[typ] = [2]map[string]any(list)
	}
	schema := c.Describe().Config
	h.Start = func(t harness.TB) harness.Application {
		t.Helper()
		app := &outside{hand: hand, known: known, cfg: cfg, schema: schema}
		a := app.do(t, schemas.ConnectorTest{Do: "start"})
		app.id, app.prefix = a.Application, a.Prefix
		app.cfg.Values = connectors.WithSecrets(schema, a.Config)
		t.Cleanup(func() {
			// The case's own context has ended by now.
			if _, err := hand.Do(context.WithoutCancel(ctx), schemas.ConnectorTest{Do: "stop", Application: app.id}); err != nil {
				t.Errorf("outside hand: stop: %v", err)
			}
		})
		return app
	}
	for _, f := range known.Faulty {
		h.Faulty = append(h.Faulty, harness.Faulty{Name: f.Name, Code: connectors.Code(f.Code), Config: func(_ harness.TB, good connectors.Config) connectors.Config {
			values := maps.Clone(good.Values)
			maps.Copy(values, f.Set)
			for _, name := range f.Remove {
				delete(values, name)
			}
			good.Values = connectors.WithSecrets(schema, values)
			return good
		}})
	}
	return h, nil
}

// outside is an application that a hand started.
type outside struct {
	hand       Hand
	known      schemas.ConnectorHarness
	cfg        connectors.Config
	schema     []byte
	id, prefix string
}

func (o *outside) do(t harness.TB, r schemas.ConnectorTest) schemas.ConnectorTestAnswer {
	t.Helper()
	r.Application = o.id
	a, err := o.hand.Do(t.Context(), r)
	if err != nil {
		t.Fatalf("outside hand: %s: %v", r.Do, err)
	}
	return a
}

func (o *outside) named(t harness.TB, r schemas.ConnectorTest) schemas.Name {
	t.Helper()
	a := o.do(t, r)
	if a.Name == nil {
		t.Fatalf("outside hand: %s returned no name", r.Do)
	}
	return *a.Name
}

func (o *outside) Config() connectors.Config { return o.cfg }

func (o *outside) Name(word string) string { return o.prefix + word }

func (o *outside) AddIdentity(t harness.TB, typ, word string) schemas.Name {
	t.Helper()
	return o.named(t, schemas.ConnectorTest{Do: "add_identity", Type: typ, Word: word})
}

func (o *outside) RemoveIdentity(t harness.TB, name schemas.Name) {
	t.Helper()
	o.do(t, schemas.ConnectorTest{Do: "remove_identity", Name: &name})
}

func (o *outside) AddResource(t harness.TB, typ, word string) (schemas.Name, bool) {
	t.Helper()
	a := o.do(t, schemas.ConnectorTest{Do: "add_resource", Type: typ, Word: word})
	if a.Not || a.Name == nil {
		return schemas.Name{}, false
	}
	return *a.Name, true
}

func (o *outside) AddConnection(t harness.TB, name schemas.Name) {
	t.Helper()
	o.do(t, schemas.ConnectorTest{Do: "add_connection", Name: &name})
}

func (o *outside) DropConnection(t harness.TB, name schemas.Name) {
	t.Helper()
	o.do(t, schemas.ConnectorTest{Do: "drop_connection", Name: &name})
}

func (o *outside) Grant(t harness.TB, key schemas.Key) {
	t.Helper()
	o.do(t, schemas.ConnectorTest{Do: "grant", Key: &key})
}

func (o *outside) Revoke(t harness.TB, key schemas.Key) {
	t.Helper()
	o.do(t, schemas.ConnectorTest{Do: "revoke", Key: &key})
}

// can reports whether the hand has one of the optional interfaces.
func (o *outside) can(what string) bool {
	if what == "break" {
		return len(o.known.Breaks) > 0
	}
	for _, c := range o.known.Can {
		if c == what {
			return true
		}
	}
	return false
}

func (o *outside) SetIdentityState(t harness.TB, name schemas.Name, state schemas.EntitlementState) bool {
	t.Helper()
	return !o.do(t, schemas.ConnectorTest{Do: "set_identity_state", Name: &name, State: state}).Not
}

func (o *outside) Own(t harness.TB, connection schemas.Name) {
	t.Helper()
	o.do(t, schemas.ConnectorTest{Do: "own", Name: &connection})
}

func (o *outside) Protected(t harness.TB) schemas.Name {
	t.Helper()
	return o.named(t, schemas.ConnectorTest{Do: "protected"})
}

func (o *outside) Rename(t harness.TB, name schemas.Name, word string) (schemas.Name, bool) {
	t.Helper()
	a := o.do(t, schemas.ConnectorTest{Do: "rename", Name: &name, Word: word})
	if a.Not || a.Name == nil {
		return schemas.Name{}, false
	}
	return *a.Name, true
}

func (o *outside) Hide(t harness.TB, name schemas.Name, hidden bool) bool {
	t.Helper()
	return !o.do(t, schemas.ConnectorTest{Do: "hide", Name: &name, Hidden: hidden}).Not
}

func (o *outside) Break(harness.TB) []harness.Broken {
	var list []harness.Broken
	for _, b := range o.known.Breaks {
		list = append(list, harness.Broken{Name: b.Name, Corrupt: b.Corrupt, Start: func(t harness.TB) connectors.Config {
			t.Helper()
			cfg := o.cfg
			if a := o.do(t, schemas.ConnectorTest{Do: "break", Break: b.Name}); a.Config != nil {
				cfg.Values = connectors.WithSecrets(o.schema, a.Config)
			}
			return cfg
		}})
	}
	return list
}

// offers reports whether an application really has an optional ability of its type: one in a process of its own has
// all the methods, and lists those that it can carry out.
func offers(app harness.Application, ability string) bool {
	o, outside := app.(*outside)
	return !outside || o.can(ability)
}
