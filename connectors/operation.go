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

// Checker checks operations against a Description before anything is sent to an application. It isn't safe for
// concurrent use.
type Checker struct {
	description schemas.Description
	payloads    map[string]*jsonschema.Schema // by connection type
}

// NewChecker compiles the payload schemas of a description.
func NewChecker(d schemas.Description) (*Checker, error) {
	c := &Checker{description: d, payloads: map[string]*jsonschema.Schema{}}
	for _, typ := range d.Types {
		schema, err := CompileSchema(typ.Payload)
		if err != nil {
			return nil, fmt.Errorf("payload schema of %s: %w", typ.Name, err)
		}
		c.payloads[typ.Name] = schema
	}
	return c, nil
}

// Check returns the reason why the application can't carry out the operation in any state, or nil. The error is an
// *Error with the code Invalid or Unsupported. Removals are checked less: somebody else may have granted a privilege
// or name that no request can contain, and a thing that can't exist is already gone.
func (c *Checker) Check(o *schemas.Operation) error {
	refuse := func(code Code, format string, args ...any) error {
		return &Error{Code: code, Op: Title(o), Message: fmt.Sprintf(format, args...)}
	}
	typ, ok := c.description.Type(o.Connection.Type)
	if !ok {
		return refuse(Unsupported, "%s: unknown connection type %s", c.description.Title, strconv.QuoteToASCII(o.Connection.Type))
	}
	able, known := map[schemas.OperationKind]bool{schemas.OperationCreate: typ.Create, schemas.OperationUpdate: typ.Update,
		schemas.OperationDelete: typ.Delete, schemas.OperationGrant: true, schemas.OperationRevoke: true}[o.Kind]
	switch {
	case !known:
		return refuse(Unsupported, "unknown kind of operation")
	case !able:
		return refuse(Unsupported, "%s doesn't support %[3]s of a %[2]s", c.description.Title, typ.Name, o.Kind)
	case o.ReassignTo != "" && !typ.Reassign:
		return refuse(Unsupported, "reassign_to: a %s owns nothing; leave it out", typ.Name)
	}
	if !o.Removes() {
		if o.Connection.SourceName == "" {
			return refuse(Invalid, "the connection's name is required")
		}
		if err := typ.Names.Check(o.Connection.SourceName); err != nil {
			return refuse(Invalid, "%v", err)
		}
	}
	switch o.Kind {
	case schemas.OperationCreate, schemas.OperationUpdate:
		return c.payload(o, typ)
	case schemas.OperationGrant, schemas.OperationRevoke:
		if o.Target == nil || o.Privilege == "" {
			return refuse(Invalid, "the operation's target and privilege are required")
		}
		g, ok := typ.Target(o.Target.Type)
		switch {
		case !ok:
			return refuse(Unsupported, "a %s can't be granted a %s", typ.Name, strconv.QuoteToASCII(o.Target.Type))
		case o.Kind == schemas.OperationRevoke && !g.Revoke:
			return refuse(Unsupported, "%s doesn't support revoking a %s from a %s", c.description.Title, g.Type, typ.Name)
		case o.Kind == schemas.OperationRevoke:
			return nil
		case !g.Grant:
			return refuse(Unsupported, "%s doesn't support granting a %s to a %s", c.description.Title, g.Type, typ.Name)
		case !slices.Contains(g.Privileges, o.Privilege):
			return refuse(Invalid, "unknown privilege %[2]s for a %[1]s (expected one of %[3]v)", g.Type, strconv.QuoteToASCII(o.Privilege), g.Privileges)
		case o.Target.SourceName == "":
			return refuse(Invalid, "the target's name is required")
		}
		if err := g.Names.Check(o.Target.SourceName); err != nil {
			return refuse(Invalid, "%v", err)
		}
	}
	return nil
}

// payload checks the attributes against the type's schema. Null leaves an attribute unchanged.
func (c *Checker) payload(o *schemas.Operation, typ schemas.ConnectionType) error {
	attributes := typ.Attributes()
	given := make(map[string]any, len(o.After))
	for _, k := range slices.Sorted(maps.Keys(o.After)) {
		if !attributes[k] {
			return &Error{Code: Invalid, Op: Title(o), Message: fmt.Sprintf("unknown attribute %[2]s of a %[1]s", typ.Name, strconv.QuoteToASCII(k))}
		}
		if v := o.After[k]; v != nil {
			given[k] = plainJSON(v)
		}
	}
	// An update needn't repeat attributes that the schema requires.
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

// plainJSON converts Go lists and maps to the types that a schema knows.
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

// Title describes an operation for errors: names are quoted and cut.
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

// Failures remembers which operations of an Apply failed. Create it with make.
type Failures map[string]bool

// Blocked returns the error of an operation that depends on a failed one, or nil.
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
	return &Error{Code: Blocked, Op: Title(o), Message: "an operation that this one depends on failed", Dependents: broken}
}

// Each carries out operations one after the other, for applications without transactions: an operation whose
// dependency failed is Blocked, one that checker refuses isn't tried, and every other is passed to do, which returns
// the number of attempts and the result. When the context ends, or the application as such is unavailable (IsWhole),
// the current operation and those after it get no outcome: otherwise each of a thousand operations would wait for its
// own time-out. now is the clock of the outcomes.
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
			return Stopped(ctx, "apply") // a sent request may have been carried out: reading back decides
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

// Stopped returns the error of a context that has ended, or nil.
func Stopped(ctx context.Context, op string) error {
	switch err := ctx.Err(); {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: Unavailable, Op: op, Message: "timed out", Err: err}
	default:
		return &Error{Code: Unavailable, Op: op, Message: "stopped", Err: err}
	}
}
