package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Tag is an annotated tag of a commit. Nobody vouches for its names unless its signature does.
type Tag struct {
	Name, Hash, Target string
	Tagger             Person
	Message            string
	// Signature is the armored signature at the end of the message, "" for none; Payload is what it signs.
	Signature string
	Payload   []byte
}

// Tags returns the annotated tags of commits by the commit that they name, each list sorted by name. Tags in a form that
// Git does not write are left out: they are nobody's word.
func (r *Repository) Tags(ctx context.Context) (map[string][]*Tag, error) {
	r.mu.Lock()
	refs, err := r.refs.Refs()
	r.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("list the tags: %w", err)
	}
	out := map[string][]*Tag{}
	for _, ref := range refs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !ref.Name().IsTag() || ref.Type() != plumbing.HashReference {
			continue
		}
		typ, b, err := r.object(ref.Hash(), maxObject)
		if errors.Is(err, ErrTooLarge) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ref.Name(), err)
		}
		if typ != plumbing.TagObject {
			continue
		}
		if t, ok := parseTag(string(b)); ok {
			t.Hash = ref.Hash().String()
			out[t.Target] = append(out[t.Target], t)
		}
	}
	for _, list := range out {
		slices.SortFunc(list, func(a, b *Tag) int { return strings.Compare(a.Name+"\x00"+a.Hash, b.Name+"\x00"+b.Hash) })
	}
	return out, nil
}

// parseTag reads a tag of a commit, in exactly the form that Git writes.
func parseTag(b string) (*Tag, bool) {
	if strings.IndexByte(b, 0) >= 0 {
		return nil, false
	}
	t, h := &Tag{}, &headers{rest: b}
	values := map[string]string{}
	for _, key := range []string{"object", "type", "tag", "tagger"} {
		v, err := h.one(key)
		if err != nil {
			return nil, false
		}
		values[key] = v
	}
	if values["type"] != "commit" || !isHash(values["object"]) || !strings.HasPrefix(h.rest, "\n") {
		return nil, false
	}
	t.Name, t.Target = values["tag"], values["object"]
	end := strings.LastIndex(values["tagger"], ">")
	t.Tagger = PersonOf(values["tagger"][:end+1])
	t.Message = h.rest[1:]
	t.Payload = []byte(b)
	if i := strings.Index("\n"+t.Message, "\n-----BEGIN "); i >= 0 {
		t.Message, t.Signature = t.Message[:i], t.Message[i:]
		t.Payload = []byte(b[:len(b)-len(t.Signature)])
	}
	return t, true
}
