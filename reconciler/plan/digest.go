package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"slices"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Digest is the SHA-256 (hex) over the typed operations of all applications, sorted by application and id.
// Causes, holds and effects are left out: the digest says what would be done, not why or when.
func Digest(plans []schemas.ApplicationPlan) (string, error) {
	type op struct {
		App, ID, Kind, Target, Privilege string
		After                            map[string]any
		ReassignTo                       string
	}
	var ops []op
	for i := range plans {
		for j := range plans[i].Operations {
			o := &plans[i].Operations[j]
			x := op{App: o.Application, ID: o.ID, Kind: string(o.Kind), Privilege: o.Privilege, After: o.After, ReassignTo: o.ReassignTo}
			if o.Target != nil {
				x.Target = o.Target.String()
			}
			ops = append(ops, x)
		}
	}
	slices.SortFunc(ops, func(a, b op) int {
		if a.App != b.App {
			return compare(a.App, b.App)
		}
		return compare(a.ID, b.ID)
	})
	h := sha256.New()
	for _, o := range ops {
		if err := hashJSON(h, o); err != nil {
			return "", fmt.Errorf("digest operation %s: %w", o.ID, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// LiveDigest is the SHA-256 (hex) over a live state.
func LiveDigest(s connectors.State) (string, error) {
	h := sha256.New()
	for i := range s.Connections {
		c := &s.Connections[i]
		fmt.Fprintf(h, "%q %q %q\n", c.Type, c.SourceName, c.NativeID)
		if err := hashJSON(h, c.Payload); err != nil {
			return "", fmt.Errorf("digest %s: %w", c.Name, err)
		}
		for _, e := range c.Entitlements {
			h.Write([]byte(e.Target.Type + "\x1f" + e.Target.SourceName + "\x1f" + e.Privilege + "\x1f" + e.State + "\x1e"))
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashJSON(h hash.Hash, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h.Write(b)
	h.Write([]byte{'\n'})
	return nil
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}
