package connectors

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/countersign/countersign/schemas"
)

// Checker holds operations to a Description before anything is sent to an application. It is not safe for
// concurrent use.
type Checker struct {
	description Description
	names       Names
	payloads    map[string]*jsonschema.Schema // by connection type
}

// NewChecker compiles the payload schemas of a description.
func NewChecker(d Description) (*Checker, error) {
	c := &Checker{description: d, names: Names{}, payloads: map[string]*jsonschema.Schema{}}
	for _, typ := range d.Types {
		schema, err := CompileSchema(typ.Payload)
		if err != nil {
			return nil, fmt.Errorf("payload schema of %s: %w", typ.Name, err)
		}
		c.payloads[typ.Name] = schema
	}
	return c, nil
}

// Check says why the application could not carry the operation out, whatever it holds, or nil. The error is an
// *Error with the code Invalid or Unsupported. What only takes away is checked less: a privilege or name that
// nobody can ask for may have been given by another hand, and what cannot exist is gone already.
func (c *Checker) Check(o *schemas.Operation) error {
	refuse := func(code Code, format string, args ...any) error {
		return &Error{Code: code, Op: Title(o), Message: fmt.Sprintf(format, args...)}
	}
	typ, ok := c.description.Type(o.Connection.Type)
	if !ok {
		return refuse(Unsupported, "%s has no connections of type %s", c.description.Title, strconv.QuoteToASCII(o.Connection.Type))
	}
	able, known := map[schemas.OperationKind]bool{schemas.OperationCreate: typ.Create, schemas.OperationUpdate: typ.Update,
		schemas.OperationDelete: typ.Delete, schemas.OperationGrant: true, schemas.OperationRevoke: true}[o.Kind]
	switch {
	case !known:
		return refuse(Unsupported, "there is no such kind of operation")
	case !able:
		return refuse(Unsupported, "%s does not let a %s be changed so (%s)", c.description.Title, typ.Name, o.Kind)
	case o.ReassignTo != "" && !typ.Reassign:
		return refuse(Unsupported, "a %s owns nothing that could be reassigned: leave reassign_to out", typ.Name)
	}
	if !o.Removes() {
		if o.Connection.SourceName == "" {
			return refuse(Invalid, "the connection has no name")
		}
		if err := c.names.Check(typ.Names, o.Connection.SourceName); err != nil {
			return refuse(Invalid, "%v", err)
		}
	}
	switch o.Kind {
	case schemas.OperationCreate, schemas.OperationUpdate:
		return c.payload(o, typ)
	case schemas.OperationGrant, schemas.OperationRevoke:
		if o.Target == nil || o.Privilege == "" {
			return refuse(Invalid, "the operation names no target or no privilege")
		}
		g, ok := typ.Target(o.Target.Type)
		switch {
		case !ok:
			return refuse(Unsupported, "a %s cannot be given a %s", typ.Name, strconv.QuoteToASCII(o.Target.Type))
		case o.Kind == schemas.OperationRevoke && !g.Revoke:
			return refuse(Unsupported, "%s does not let a %s be taken from a %s", c.description.Title, g.Type, typ.Name)
		case o.Kind == schemas.OperationRevoke:
			return nil
		case !g.Grant:
			return refuse(Unsupported, "%s does not let a %s be given to a %s", c.description.Title, g.Type, typ.Name)
		case !slices.Contains(g.Privileges, o.Privilege):
			return refuse(Invalid, "a %s has no privilege %s (expected one of %v)", g.Type, strconv.QuoteToASCII(o.Privilege), g.Privileges)
		case o.Target.SourceName == "":
			return refuse(Invalid, "the target has no name")
		}
		if err := c.names.Check(g.Names, o.Target.SourceName); err != nil {
			return refuse(Invalid, "%v", err)
		}
	}
	return nil
}

// payload holds the attributes to the type's schema. Null leaves an attribute as it is.
func (c *Checker) payload(o *schemas.Operation, typ ConnectionType) error {
	attributes := typ.Attributes()
	given := make(map[string]any, len(o.After))
	for _, k := range slices.Sorted(maps.Keys(o.After)) {
		if !attributes[k] {
			return &Error{Code: Invalid, Op: Title(o), Message: fmt.Sprintf("a %s has no attribute %s", typ.Name, strconv.QuoteToASCII(k))}
		}
		if v := o.After[k]; v != nil {
			given[k] = plainJSON(v)
		}
	}
	// What the schema requires of a whole payload, an update need not repeat.
	err := c.payloads[typ.Name].Validate(given)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return nil
	}
	for _, cause := range leaves(invalid) {
		if len(cause.InstanceLocation) == 0 && o.Kind == schemas.OperationUpdate {
			continue
		}
		what := "the payload"
		if len(cause.InstanceLocation) > 0 {
			what = "the attribute " + strconv.QuoteToASCII(cause.InstanceLocation[0])
		}
		return &Error{Code: Invalid, Op: Title(o), Message: what + " has a value that " + c.description.Title + " would refuse"}
	}
	return nil
}

func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var out []*jsonschema.ValidationError
	for _, c := range e.Causes {
		out = append(out, leaves(c)...)
	}
	return out
}

// plainJSON gives lists and maps of Go the types that a schema knows.
func plainJSON(v any) any {
	switch v := v.(type) {
	case []string:
		out := make([]any, len(v))
		for i := range v {
			out[i] = v[i]
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plainJSON(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = plainJSON(v[k])
		}
		return out
	}
	return v
}

// maxTitleBytes bounds how much of a name an error repeats.
const maxTitleBytes = 300

// Title says what an operation does, for errors: names are quoted and cut.
func Title(o *schemas.Operation) string {
	text := func(s string) string {
		if len(s) > maxTitleBytes {
			return strconv.QuoteToASCII(s[:maxTitleBytes]) + "…"
		}
		return strconv.QuoteToASCII(s)
	}
	s := fmt.Sprintf("%s %s %s", o.Kind, o.Connection.Type, text(o.Connection.SourceName))
	if o.Target != nil {
		s += fmt.Sprintf(": %s on %s %s", text(o.Privilege), o.Target.Type, text(o.Target.SourceName))
	}
	return s
}

// Failures remembers which operations of an Apply failed. The zero value is not usable: make it with make.
type Failures map[string]bool

// Blocked is the error of an operation that depends on a failed one, or nil.
func (f Failures) Blocked(o *schemas.Operation) error {
	var broken []string
	for _, id := range o.DependsOn {
		if f[id] {
			broken = append(broken, id)
		}
	}
	if len(broken) == 0 {
		return nil
	}
	return &Error{Code: Blocked, Op: Title(o), Message: "an operation that it depends on failed", Dependents: broken}
}

// Each carries operations out one after the other, for applications without transactions: an operation whose
// dependency failed is Blocked, one that checker refuses is not tried, every other goes to do, which returns how
// often it was tried and what came of it. When the context ends, or the application as a whole is not to be had
// (IsWhole), the operation under way and those after it have no outcome: a thousand operations would each wait for
// what does not come. now is the clock of the outcomes.
func Each(ctx context.Context, ops []schemas.Operation, checker *Checker, now func() time.Time, report func(Outcome),
	do func(context.Context, *schemas.Operation) (attempts int, err error)) error {
	failed := Failures{}
	for i := range ops {
		o := &ops[i]
		if err := Stopped(ctx, "apply"); err != nil {
			return err
		}
		out := Outcome{Operation: o.ID, Started: now()}
		if out.Err = failed.Blocked(o); out.Err == nil {
			if out.Attempts, out.Err = 1, checker.Check(o); out.Err == nil {
				out.Attempts, out.Err = do(ctx, o)
			}
		}
		if out.Err != nil && ctx.Err() != nil {
			return Stopped(ctx, "apply") // what was sent may have been done: reading back tells
		}
		if IsWhole(out.Err) {
			return out.Err
		}
		failed[o.ID] = out.Err != nil
		out.Attempts = max(out.Attempts, 1)
		if CodeOf(out.Err) == Blocked {
			out.Attempts = 0
		}
		out.Finished = now()
		report(out)
	}
	return nil
}

// Stopped is the error of a context that has ended, or nil.
func Stopped(ctx context.Context, op string) error {
	switch err := ctx.Err(); {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: Unavailable, Op: op, Message: "it took too long", Err: err}
	default:
		return &Error{Code: Unavailable, Op: op, Message: "stopped", Err: err}
	}
}
