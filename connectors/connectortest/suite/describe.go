package suite

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

// validate checks a Go value against a schema, by way of JSON.
func validate(s *jsonschema.Schema, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

func testDescribe(t harness.T, h harness.Harness) {
	static := h.Connector.Describe()
	if static.Version != "" {
		t.Errorf("Describe without a server has the version %q", static.Version)
	}
	for _, fault := range connectors.Faults(static) {
		t.Errorf("static: %s", fault)
	}
	if !reflect.DeepEqual(static, h.Connector.Describe()) {
		t.Error("Describe differs from one call to the next")
	}
	f := harness.Start(t, h)
	// The harness's payloads are for the installation, which may have fewer attributes than the connector.
	for _, typ := range f.Description.Types {
		checkPayloads(t, typ, h.Payloads)
	}
	for _, fault := range connectors.Faults(f.Description) {
		t.Errorf("installed: %s", fault)
	}
	for _, fault := range connectors.Exceeds(f.Description, static) {
		t.Error(fault)
	}
	s, err := connectors.CompileSchema(connectors.WithoutSecrets(static.Config))
	if err != nil {
		t.Fatalf("config schema: %v", err)
	}
	// Secrets are references in the file and resolved here, so they aren't checked against the schema.
	values := maps.Clone(f.App.Config().Values)
	for k, v := range values {
		if _, ok := v.(connectors.Secret); ok {
			values[k] = map[string]any{"env": "NAME"}
		}
	}
	if err := validate(s, values); err != nil {
		t.Errorf("the harness's own config doesn't match the schema: %v", err)
	}
}

func checkPayloads(t harness.T, typ schemas.ConnectionType, payloads map[string][2]map[string]any) {
	t.Helper()
	s, err := connectors.CompileSchema(typ.Payload)
	if err != nil {
		return // reported as a fault of the description
	}
	schema, err := harness.ParsePayload(typ.Payload)
	if err != nil {
		return
	}
	for i, p := range payloads[typ.Name] {
		if err := validate(s, p); err != nil {
			t.Errorf("payload %d of %s in the harness: %v", i, typ.Name, err)
		}
		if got := slices.Sorted(maps.Keys(p)); !slices.Equal(got, schema.Names()) {
			t.Errorf("payload %d of %s in the harness has %v, want every attribute: %v", i, typ.Name, got, schema.Names())
		}
	}
}
