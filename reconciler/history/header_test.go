package history

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// packOf is a pack of exactly these bytes, without an index.
func packOf(t testing.TB, b []byte) *pack {
	t.Helper()
	f, err := memfs.New().Create("pack")
	if err == nil {
		_, err = f.Write(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &pack{file: strict{f}, size: int64(len(b))}
}

// strict refuses what a file of the system refuses.
type strict struct{ billy.File }

func (f strict) ReadAt(b []byte, at int64) (int, error) {
	if at < 0 {
		return 0, errors.New("negative offset")
	}
	if len(b) == 0 {
		return 0, nil
	}
	return f.File.ReadAt(b, at)
}

// encodeHeader writes an object's header as gitformat-pack(5) has it.
func encodeHeader(kind plumbing.ObjectType, size, back int64, name plumbing.Hash) []byte {
	c := byte(kind)<<4 | byte(size&15)
	var b []byte
	for size >>= 4; size > 0; size >>= 7 {
		b = append(b, c|0x80)
		c = byte(size & 0x7f)
	}
	b = append(b, c)
	switch kind {
	case plumbing.OFSDeltaObject:
		// From the last byte to the first: each byte but the last stands for one more than it says.
		o := []byte{byte(back & 0x7f)}
		for back >>= 7; back > 0; back >>= 7 {
			back--
			o = append([]byte{0x80 | byte(back&0x7f)}, o...)
		}
		b = append(b, o...)
	case plumbing.REFDeltaObject:
		b = append(b, name[:]...)
	}
	return b
}

func kinds() []plumbing.ObjectType {
	return []plumbing.ObjectType{plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject, plumbing.OFSDeltaObject, plumbing.REFDeltaObject}
}

// Any header that can be written is read as what it is, wherever it stands, and no beginning of it is read at all.
func TestPropertyHeaders(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		kind := rapid.SampledFrom(kinds()).Draw(r, "kind")
		size := rapid.Int64Range(0, 1<<46-1).Draw(r, "size")
		offset := rapid.OneOf(rapid.Int64Range(2, 5000), rapid.SampledFrom([]int64{20_000, 2_200_000})).Draw(r, "offset")
		want := packed{kind: kind, size: size}
		var back int64
		switch kind {
		case plumbing.OFSDeltaObject:
			back = rapid.OneOf(rapid.Int64Range(1, offset-1), rapid.Just(offset-1)).Draw(r, "back")
			want.base = offset - back
		case plumbing.REFDeltaObject:
			copy(want.baseName[:], rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(r, "name"))
		}
		h := encodeHeader(kind, size, back, want.baseName)
		want.data = offset + int64(len(h))
		before, after := bytes.Repeat([]byte{0xff}, int(offset)), rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(r, "after")
		got, err := packOf(t, bytes.Join([][]byte{before, h, after}, nil)).header(offset)
		if err != nil {
			r.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(packed{})); diff != "" {
			r.Errorf("(-written +read):\n%s", diff)
		}
		cut := rapid.IntRange(0, len(h)-1).Draw(r, "cut")
		if got, err := packOf(t, append(before, h[:cut]...)).header(offset); err == nil {
			r.Errorf("the first %d of %d bytes are read as %+v", cut, len(h), got)
		}
	})
}

// A header of any bytes is an error, or of an object in the pack whose base, if it has one, lies before it.
func FuzzHeader(f *testing.F) {
	for _, k := range kinds() {
		f.Add(append(make([]byte, 300), encodeHeader(k, 123456, 299, plumbing.Hash{1})...), int64(300))
	}
	for _, back := range []int64{0, 9, 10, 11, 1 << 40} {
		f.Add(append(make([]byte, 10), encodeHeader(plumbing.OFSDeltaObject, 5, back, plumbing.Hash{})...), int64(10))
	}
	for kind := range 8 {
		f.Add([]byte{0, byte(kind << 4), 0, 0}, int64(1))
	}
	for n := range 12 { // A size of ever more bytes.
		f.Add(append(append([]byte{0xb0}, bytes.Repeat([]byte{0xff}, n)...), 0x7f), int64(0))
		f.Add(append(append([]byte{0, 0x60}, bytes.Repeat([]byte{0xff}, n)...), 0x7f), int64(1))
	}
	f.Add(bytes.Repeat([]byte{0xff}, 80), int64(1))
	f.Add(append([]byte{0x6f}, bytes.Repeat([]byte{0xff}, 80)...), int64(0))
	f.Add([]byte{0x6f, 0xe0, 0x00}, int64(1))
	f.Add([]byte{0x30}, int64(-1<<63))
	f.Add([]byte{0x30}, int64(1<<63-1))
	f.Fuzz(func(t *testing.T, b []byte, offset int64) {
		p := packOf(t, b)
		h, err := p.header(offset)
		if err != nil {
			return
		}
		if h.data <= offset || h.data > p.size || h.data > offset+64 || h.size < 0 {
			t.Errorf("the header at %d of %d bytes: %+v", offset, p.size, h)
		}
		if h.kind == plumbing.OFSDeltaObject && (h.base <= 0 || h.base >= offset) {
			t.Errorf("the delta at %d has its base at %d", offset, h.base)
		}
		if !h.isDelta() && (h.kind < plumbing.CommitObject || h.kind > plumbing.TagObject) {
			t.Errorf("an object of kind %d", h.kind)
		}
		again := encodeHeader(h.kind, h.size, offset-h.base, h.baseName)
		if got := b[offset:h.data]; len(got) <= len(again) && !bytes.Equal(got, again) {
			t.Errorf("%x is read as %+v, which is written %x", got, h, again)
		}
	})
}

// The size of what a delta makes is the second of its two numbers, which are as encoding/binary has them.
func FuzzResultSize(f *testing.F) {
	f.Add(binary.AppendUvarint(binary.AppendUvarint(nil, 300), 1<<40))
	f.Add(binary.AppendUvarint(binary.AppendUvarint(nil, 1<<63), 5))
	f.Add(bytes.Repeat([]byte{0x80}, 30))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := resultSize(b)
		r := bytes.NewReader(b)
		_, err1 := binary.ReadUvarint(r)
		first := len(b) - r.Len()
		want, err2 := binary.ReadUvarint(r)
		// Nine bytes hold any size; more is refused, though they may be zeros.
		good := err1 == nil && err2 == nil && first <= 9 && len(b)-r.Len()-first <= 9
		if good != (err == nil) || good && uint64(got) != want {
			t.Errorf("resultSize(%x) = %d, %v, want %d (%v, %v)", b, got, err, want, err1, err2)
		}
	})
}
