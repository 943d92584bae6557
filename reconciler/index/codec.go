package index

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// The encoding of a connection's documents: lengths and counts as varints, strings as they are. It is ten
// times quicker to read than JSON, and the format number in the file guards it.

var errCorrupt = errors.New("the order index is damaged; delete index.db, it is built again")

type encoder struct{ b []byte }

func (e *encoder) uint(n int)   { e.b = binary.AppendUvarint(e.b, uint64(n)) }
func (e *encoder) str(s string) { e.uint(len(s)); e.b = append(e.b, s...) }
func (e *encoder) strs(l []string) {
	e.uint(len(l))
	for _, s := range l {
		e.str(s)
	}
}

func (e *encoder) time(t *time.Time) {
	if t == nil {
		e.uint(0)
		return
	}
	// UnixNano wraps around before 1678 and after 2262; a request may contain the year 9999.
	e.uint(1)
	e.b = binary.AppendVarint(e.b, t.Unix())
	e.uint(t.Nanosecond())
}

func (e *encoder) entries(l []schemas.Entry) {
	e.uint(len(l))
	for i := range l {
		x := &l[i]
		e.str(x.Type)
		e.str(x.SourceName)
		e.str(x.SourceID)
		e.strs(x.Privileges)
		e.time(x.Starts)
		e.time(x.Expires)
	}
}

func (e *encoder) version(v *plan.Version) error {
	r := v.Request
	e.str(v.Blob)
	e.uint(v.Until)
	e.str(string(r.Kind))
	e.str(r.Metadata.Name)
	e.str(r.Metadata.Reason)
	e.str(r.Metadata.Ticket)
	e.str(r.Application)
	e.str(string(r.Provisioning))
	e.str(r.Connection.Type)
	e.str(r.Connection.SourceName)
	e.str(r.Connection.SourceID)
	e.str(r.ReassignTo)
	if r.Payload == nil {
		e.str("")
	} else {
		b, err := json.Marshal(r.Payload)
		if err != nil {
			return fmt.Errorf("encode the payload of %s: %w", r.Metadata.Name, err)
		}
		e.str(string(b))
	}
	e.entries(r.Grants)
	e.entries(r.Revokes)
	return nil
}

func encodeDocuments(docs []*plan.Document) ([]byte, error) {
	e := &encoder{b: make([]byte, 0, 256*len(docs))}
	e.uint(len(docs))
	for _, d := range docs {
		e.uint(d.Place.Commit)
		e.str(d.Place.Path)
		e.uint(d.Place.Index)
		e.uint(len(d.Former))
		for _, v := range d.Former {
			if err := e.version(v); err != nil {
				return nil, err
			}
		}
		if d.Current == nil {
			e.uint(0)
			continue
		}
		e.uint(1)
		if err := e.version(d.Current); err != nil {
			return nil, err
		}
	}
	return e.b, nil
}

// decoder reads what encoder wrote. Strings share the one copy of the input.
type decoder struct {
	s   string
	bad bool
}

func (d *decoder) uint() int {
	var n uint64
	for i := 0; i < len(d.s) && i < binary.MaxVarintLen64; i++ {
		c := d.s[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.s = d.s[i+1:]
			if n > 1<<31 {
				break
			}
			return int(n)
		}
	}
	d.bad, d.s = true, ""
	return 0
}

func (d *decoder) str() string {
	n := d.uint()
	if n > len(d.s) {
		d.bad, d.s = true, ""
		return ""
	}
	out := d.s[:n]
	d.s = d.s[n:]
	return out
}

// count is a number of things that take at least one byte each.
func (d *decoder) count() int {
	n := d.uint()
	if n > len(d.s) {
		d.bad, d.s = true, ""
		return 0
	}
	return n
}

func (d *decoder) strs() []string {
	n := d.count()
	if n == 0 {
		return nil
	}
	out := make([]string, n)
	for i := range out {
		out[i] = d.str()
	}
	return out
}

func (d *decoder) time() *time.Time {
	if d.uint() == 0 {
		return nil
	}
	n, size := binary.Varint([]byte(d.s[:min(len(d.s), binary.MaxVarintLen64)]))
	if size <= 0 {
		d.bad, d.s = true, ""
		return nil
	}
	d.s = d.s[size:]
	t := time.Unix(n, int64(d.uint())).UTC()
	return &t
}

func (d *decoder) entries() []schemas.Entry {
	n := d.count()
	if n == 0 {
		return nil
	}
	out := make([]schemas.Entry, n)
	for i := range out {
		out[i] = schemas.Entry{Type: d.str(), SourceName: d.str(), SourceID: d.str(), Privileges: d.strs(), Starts: d.time(), Expires: d.time()}
	}
	return out
}

func (d *decoder) version() *plan.Version {
	v := &plan.Version{Blob: d.str(), Until: d.uint()}
	r := &schemas.Request{Kind: schemas.Kind(d.str())}
	r.Metadata = schemas.Metadata{Name: d.str(), Reason: d.str(), Ticket: d.str()}
	r.Application, r.Provisioning = d.str(), schemas.Provisioning(d.str())
	r.Connection = schemas.ConnectionRef{Type: d.str(), SourceName: d.str(), SourceID: d.str()}
	r.ReassignTo = d.str()
	if p := d.str(); p != "" {
		if json.Unmarshal([]byte(p), &r.Payload) != nil {
			d.bad = true
		}
	}
	r.Grants, r.Revokes = d.entries(), d.entries()
	v.Request = r
	return v
}

func decodeDocuments(b []byte) ([]*plan.Document, error) {
	d := &decoder{s: string(b)}
	docs := make([]*plan.Document, d.count())
	for i := range docs {
		x := &plan.Document{Place: schemas.Place{Commit: d.uint(), Path: d.str(), Index: d.uint()}}
		if n := d.count(); n > 0 {
			x.Former = make([]*plan.Version, n)
			for j := range x.Former {
				x.Former[j] = d.version()
			}
		}
		if d.uint() == 1 {
			x.Current = d.version()
		}
		docs[i] = x
		if d.bad {
			return nil, errCorrupt
		}
	}
	if d.bad || d.s != "" {
		return nil, errCorrupt
	}
	return docs, nil
}
