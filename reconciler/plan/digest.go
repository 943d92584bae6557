package plan

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// Digest is the SHA-256 (hex) over the typed operations of all applications, sorted by application and id.
// Causes, holds and effects are left out: the digest covers what would be done, not why.
func Digest(plans []schemas.ApplicationPlan) (string, error) {
	type op struct {
		App, ID, Kind, Target, Privilege string
		After                            map[string]any
		ReassignTo                       string
		Expires                          *time.Time `json:",omitempty"`
	}
	var ops []op
	for i := range plans {
		for j := range plans[i].Operations {
			o := &plans[i].Operations[j]
			x := op{App: o.Application, ID: o.ID, Kind: string(o.Kind), Privilege: o.Privilege, After: o.After, ReassignTo: o.ReassignTo}
			if o.Expires != nil {
				t := o.Expires.UTC() // one instant, however it was written
				x.Expires = &t
			}
			if o.Target != nil {
				x.Target = o.Target.String()
			}
			ops = append(ops, x)
		}
	}
	slices.SortFunc(ops, func(a, b op) int {
		if c := strings.Compare(a.App, b.App); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	h := sha256.New()
	for _, o := range ops {
		if err := hashJSON(h, o); err != nil {
			return "", fmt.Errorf("digest operation %s: %w", o.ID, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// LiveDigest is the SHA-256 (hex) over a live state: everything that a diff may depend on.
func LiveDigest(s schemas.State) (string, error) {
	h := sha256.New()
	buf := make([]byte, 0, 1024)
	payloads := map[uintptr][]byte{} // connections that are alike share one
	for i := range s.Connections {
		c := &s.Connections[i]
		buf = appendStrings(buf[:0], 'c', c.Type, c.SourceName, c.NativeID, c.Protected)
		h.Write(buf)
		at := reflect.ValueOf(c.Payload).Pointer()
		text, ok := payloads[at]
		if !ok {
			var err error
			if text, err = json.Marshal(c.Payload); err != nil {
				return "", fmt.Errorf("digest %s: %w", c.Name, err)
			}
			text = append(text, '\n')
			payloads[at] = text
		}
		h.Write(text)
		for j := range c.Entitlements {
			e := &c.Entitlements[j]
			buf = appendStrings(buf[:0], 'e', e.Target.Type, e.Target.SourceName, e.TargetID, e.Privilege, string(e.State))
			h.Write(buf)
		}
	}
	h.Write(appendStrings(buf[:0], 'i', s.Incomplete))
	return hex.EncodeToString(h.Sum(nil)), nil
}

// appendStrings writes each string with its length before it, so that no two lists are the same bytes.
func appendStrings(b []byte, kind byte, list ...string) []byte {
	b = append(b, kind)
	for _, s := range list {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
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
