package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

func TestDigest(t *testing.T) {
	t.Parallel()
	digest := func(steps ...string) string {
		res := newWorld(t).steps(steps...).diff()
		d, err := plan.Digest([]schemas.ApplicationPlan{res.Plan})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	base := []string{"C role/a comment=x limit=1 login=true", "A role/a +user/x@..4"}
	want := digest(base...)
	for range 20 {
		if got := digest(base...); got != want {
			t.Fatalf("the same plan has digests %s and %s", want, got)
		}
	}
	for _, other := range [][]string{
		{"C role/a comment=x limit=1 login=true", "A role/a +user/x@..5"},
		{"C role/a comment=x limit=1 login=true", "A role/a +user/x"},
		{"C role/a comment=x limit=2 login=true", "A role/a +user/x@..4"},
		{"C role/a comment=x limit=1 login=true", "A role/a +user/y@..4"},
		{"C role/a comment=x limit=1 login=true"},
	} {
		if digest(other...) == want {
			t.Errorf("%q has the same digest", other)
		}
	}
}

func TestLiveDigest(t *testing.T) {
	t.Parallel()
	digest := func(s string) string {
		d, err := plan.LiveDigest(schemas.State{Connections: []schemas.Connection{parseLive(s)}})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	base := "role/a#1 limit=1 user/x:MEMBER#7"
	for _, other := range []string{
		"role/a#2 limit=1 user/x:MEMBER#7", "role/a#1 limit=2 user/x:MEMBER#7", "role/a#1 limit=1 user/x:MEMBER#8", "role/a#1 limit=1 user/x:MEMBER#7!blocked",
		"role/a#1 limit=1 user/x:ADMIN#7", "role/a#1 limit=1", "role/a#1 limit=1 protected=y user/x:MEMBER#7",
	} {
		if digest(other) == digest(base) {
			t.Errorf("%s has the digest of %s", other, base)
		}
	}
}

func TestPrivileged(t *testing.T) {
	t.Parallel()
	typ := schemas.ConnectionType{
		Payload:          []byte(`{"properties":{"mfa":{"type":"boolean","default":true},"level":{"type":"integer","default":1}}}`),
		PrivilegedFields: []string{"superuser", "mfa", "level"},
	}
	for _, tt := range []struct {
		payload map[string]any
		want    []string
	}{
		{map[string]any{}, nil},
		{map[string]any{"superuser": true}, []string{"superuser"}},
		{map[string]any{"superuser": false}, nil},
		{map[string]any{"superuser": nil}, nil},
		{map[string]any{"mfa": false}, []string{"mfa"}}, // what is on by default is powerful to switch off
		{map[string]any{"level": 1.0}, nil},
		{map[string]any{"level": 2, "superuser": "yes"}, []string{"level", "superuser"}},
	} {
		if diff := cmp.Diff(tt.want, plan.PrivilegedFields(typ, tt.payload)); diff != "" {
			t.Errorf("%v: %s", tt.payload, diff)
		}
	}
	app := application()
	app.Spec.Privileged = map[string][]string{"role": {"*_Admin"}}
	for _, fold := range []bool{false, true} {
		typ := schemas.ConnectionType{Names: schemas.NameRule{FoldCase: fold}}
		if got := plan.PrivilegedConnection(app, typ, name("role/DB_ADMIN")); got != fold {
			t.Errorf("DB_ADMIN where case is folded (%v): privileged %v", fold, got)
		}
	}
}
