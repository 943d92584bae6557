package history

import (
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// pack is a pack file (gitformat-pack(5)) that stays open, with its index.
type pack struct {
	index *idxfile.MemoryIndex
	file  billy.File
	size  int64
}

// maxChain bounds how many deltas lead to an object: git makes at most 4095.
const maxChain = 5000

var errPack = errors.New("the pack is damaged; run git fsck")

func openPack(dir *dotgit.DotGit, name plumbing.Hash) (*pack, error) {
	idx, err := dir.ObjectPackIdx(name)
	if err != nil {
		return nil, err
	}
	p := &pack{index: idxfile.NewMemoryIndex()}
	err = idxfile.NewDecoder(idx).Decode(p.index)
	if err = errors.Join(err, idx.Close()); err != nil {
		return nil, err
	}
	if p.file, err = dir.ObjectPack(name); err != nil {
		return nil, err
	}
	if p.size, err = p.file.Seek(0, io.SeekEnd); err != nil {
		return nil, errors.Join(err, p.file.Close())
	}
	return p, nil
}

// packed is an object's header in a pack.
type packed struct {
	kind plumbing.ObjectType
	// size is that of the object, or of the delta.
	size int64
	// data is where the compressed bytes begin.
	data int64
	// base is where the base of a delta is; baseName is its name where the pack gives only that.
	base     int64
	baseName plumbing.Hash
}

func (h packed) isDelta() bool {
	return h.kind == plumbing.OFSDeltaObject || h.kind == plumbing.REFDeltaObject
}

func (p *pack) header(offset int64) (packed, error) {
	var buf [64]byte
	n, err := p.file.ReadAt(buf[:min(int64(len(buf)), max(p.size-offset, 0))], offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return packed{}, err
	}
	b := buf[:n]
	at := 0
	next := func() (byte, bool) {
		if at >= len(b) {
			return 0, false
		}
		at++
		return b[at-1], true
	}
	c, ok := next()
	h := packed{kind: plumbing.ObjectType(c >> 4 & 7), size: int64(c & 15)}
	for shift := 4; ok && c&0x80 != 0; shift += 7 {
		if c, ok = next(); shift > 50 {
			return h, errPack
		}
		h.size |= int64(c&0x7f) << shift
	}
	switch h.kind {
	case plumbing.OFSDeltaObject:
		var back int64
		for i := 0; ok; i++ {
			if c, ok = next(); i > 8 {
				return h, errPack
			}
			back = back<<7 | int64(c&0x7f)
			if c&0x80 == 0 {
				break
			}
			back++
		}
		if h.base = offset - back; back <= 0 || h.base <= 0 {
			return h, errPack
		}
	case plumbing.REFDeltaObject:
		if ok = ok && at+20 <= len(b); ok {
			h.baseName = plumbing.Hash(b[at : at+20])
			at += 20
		}
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
	default:
		return h, errPack
	}
	if !ok {
		return h, errPack
	}
	h.data = offset + int64(at)
	return h, nil
}

// inflate reads exactly size bytes, which are all there are, their checksum included.
func (o *objects) inflate(p *pack, at, size int64) ([]byte, error) {
	o.in.Reset(io.NewSectionReader(p.file, at, p.size-at))
	if o.zlib == nil {
		z, err := zlib.NewReader(o.in)
		if err != nil {
			return nil, err
		}
		o.zlib = z
	} else if z, ok := o.zlib.(zlib.Resetter); !ok {
		return nil, errors.New("zlib readers cannot be reused")
	} else if err := z.Reset(o.in, nil); err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(o.zlib, b); err != nil {
		return nil, err
	}
	var more [1]byte
	if n, err := o.zlib.Read(more[:]); n != 0 || !errors.Is(err, io.EOF) {
		return nil, errors.Join(errPack, err)
	}
	return b, nil
}

// unpack returns the object at an offset. An object over the limit is not inflated, nor put together from deltas.
func (o *objects) unpack(p *pack, offset, limit int64) (plumbing.ObjectType, []byte, error) {
	type link struct {
		at    place
		delta []byte
	}
	var chain []link
	var kind plumbing.ObjectType
	var content []byte
	for {
		at := place{p, offset}
		// The limit is the caller's for the object itself; what it is made of may be larger.
		bound := int64(maxObject)
		if len(chain) == 0 {
			bound = limit
		}
		if b, ok := o.bases.get(at); ok {
			if int64(len(b.content)) > bound {
				return plumbing.InvalidObject, nil, tooLarge(int64(len(b.content)))
			}
			kind, content = b.kind, b.content
			break
		}
		h, err := p.header(offset)
		if err != nil {
			return plumbing.InvalidObject, nil, err
		}
		if !h.isDelta() && h.size > bound || h.size > maxObject {
			return plumbing.InvalidObject, nil, tooLarge(h.size)
		}
		b, err := o.inflate(p, h.data, h.size)
		if err != nil {
			return plumbing.InvalidObject, nil, err
		}
		if !h.isDelta() {
			kind, content = h.kind, b
			o.bases.put(at, base{kind, b})
			break
		}
		size, err := resultSize(b)
		if err != nil {
			return plumbing.InvalidObject, nil, err
		}
		if size > bound {
			return plumbing.InvalidObject, nil, tooLarge(size)
		}
		if chain = append(chain, link{at, b}); len(chain) > maxChain {
			return plumbing.InvalidObject, nil, errPack
		}
		offset = h.base
		if h.kind == plumbing.REFDeltaObject {
			if offset, err = p.index.FindOffset(h.baseName); err != nil {
				return plumbing.InvalidObject, nil, fmt.Errorf("the base %s of a delta: %w", h.baseName, errPack)
			}
		}
	}
	for _, l := range slices.Backward(chain) {
		b, err := packfile.PatchDelta(content, l.delta)
		if err != nil {
			return plumbing.InvalidObject, nil, errors.Join(errPack, err)
		}
		content = b
		o.bases.put(l.at, base{kind, content})
	}
	if kind == plumbing.BlobObject {
		// It may be remembered as a base, and blobs go out to callers.
		content = slices.Clone(content)
	}
	return kind, content, nil
}

// resultSize is the size of what a delta makes: its second number.
func resultSize(delta []byte) (int64, error) {
	var n int64
	for range 2 {
		n = 0
		for shift := 0; ; shift += 7 {
			if len(delta) == 0 || shift > 56 {
				return 0, errPack
			}
			c := delta[0]
			delta = delta[1:]
			n |= int64(c&0x7f) << shift
			if c&0x80 == 0 {
				break
			}
		}
	}
	return n, nil
}

type place struct {
	pack   *pack
	offset int64
}

type base struct {
	kind    plumbing.ObjectType
	content []byte
}

// bases remembers the last objects read, in two generations of at least limit bytes: the next object is often a
// delta on one of them.
type bases struct {
	limit, bytes int
	now, old     map[place]base
}

func (c *bases) get(at place) (base, bool) {
	if b, ok := c.now[at]; ok {
		return b, true
	}
	b, ok := c.old[at]
	if ok {
		c.put(at, b)
	}
	return b, ok
}

func (c *bases) put(at place, b base) {
	if len(b.content) > c.limit/4 || b.kind == plumbing.CommitObject {
		// Commits are remembered parsed.
		return
	}
	if c.now == nil || c.bytes > c.limit {
		c.now, c.old, c.bytes = map[place]base{}, c.now, 0
	}
	if _, ok := c.now[at]; !ok {
		c.bytes += len(b.content) + 64
	}
	c.now[at] = b
}
