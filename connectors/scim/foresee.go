package scim

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
	"github.com/countersign/countersign/schemas"
)

var _ connectors.Foreseer = (*reader)(nil)

// attribute is one of a schema, as https://www.rfc-editor.org/rfc/rfc7643#section-7 describes it.
type attribute struct {
	Name       string `json:"name"`
	Mutability string `json:"mutability"`
}

// Foresee finds changes of memberships and attributes that the application's schema of groups declares readOnly or
// immutable. That a group can be changed at all is in the description.
func (r *reader) Foresee(ctx context.Context, ops []schemas.Operation) ([]schemas.Finding, error) {
	var doc struct {
		Attributes []attribute `json:"attributes"`
	}
	_, _, err := r.http.JSON(ctx, rest.Request{Op: "read the application's schema of groups", Method: http.MethodGet, Path: "Schemas/" + groupSchema}, &doc)
	var status *rest.StatusError
	if errors.As(err, &status) && status.Status < http.StatusInternalServerError && status.Status != http.StatusTooManyRequests {
		return nil, nil // it declares nothing
	}
	if err != nil {
		return nil, err
	}
	fixed := func(name string) string {
		i := slices.IndexFunc(doc.Attributes, func(a attribute) bool { return strings.EqualFold(a.Name, name) })
		if i >= 0 && (strings.EqualFold(doc.Attributes[i].Mutability, "readOnly") || strings.EqualFold(doc.Attributes[i].Mutability, "immutable")) {
			return doc.Attributes[i].Mutability
		}
		return ""
	}
	var out []schemas.Finding
	for i := range ops {
		o := &ops[i]
		switch o.Kind {
		case schemas.OperationGrant, schemas.OperationRevoke:
			if m := fixed("members"); m != "" {
				out = append(out, connectors.Foresaw(o, "the application's schema declares members of groups %s", m))
			}
		case schemas.OperationUpdate:
			for _, key := range slices.Sorted(maps.Keys(o.After)) {
				if m := fixed(key); m != "" {
					out = append(out, connectors.Foresaw(o, "the application's schema declares %s of groups %s", key, m))
				}
			}
		}
	}
	return out, nil
}
