package ordered

import (
	"iter"
	"slices"
)

// width is the maximum number of entries of a node. A change copies one node of each level.
const width = 32

// Key is a key that can be compared with another: the result is negative, zero or positive.
type Key[K any] interface{ Compare(K) int }

// Map is an immutable map, sorted by key. The zero value is empty. It is safe for concurrent use.
type Map[K Key[K], V any] struct{ root *node[K, V] }

// node is a leaf, which has values, or a branch, which has children. The keys of a branch are the first of each child.
type node[K Key[K], V any] struct {
	keys     []K
	values   []V
	children []*node[K, V]
}

// at returns the position of the last key that isn't after k, -1 for none.
func (n *node[K, V]) at(k K) (i int, found bool) {
	i, found = slices.BinarySearchFunc(n.keys, k, K.Compare)
	if !found {
		i--
	}
	return i, found
}

// Get returns the value of a key.
func (m Map[K, V]) Get(k K) (v V, ok bool) {
	n := m.root
	for n != nil {
		i, found := n.at(k)
		if n.children == nil {
			if found {
				v = n.values[i]
			}
			return v, found
		}
		if i < 0 {
			return v, false
		}
		n = n.children[i]
	}
	return v, false
}

// Has reports whether the map has the key.
func (m Map[K, V]) Has(k K) bool {
	_, ok := m.Get(k)
	return ok
}

// With returns a map in which the key has the value.
func (m Map[K, V]) With(k K, v V) Map[K, V] {
	if m.root == nil {
		return Map[K, V]{&node[K, V]{keys: []K{k}, values: []V{v}}}
	}
	n, split := m.root.with(k, v)
	if split != nil {
		n = &node[K, V]{keys: []K{n.keys[0], split.keys[0]}, children: []*node[K, V]{n, split}}
	}
	return Map[K, V]{n}
}

func (n *node[K, V]) with(k K, v V) (_, split *node[K, V]) {
	i, found := n.at(k)
	if n.children == nil {
		if found {
			out := &node[K, V]{keys: n.keys, values: slices.Clone(n.values)}
			out.values[i] = v
			return out, nil
		}
		return (&node[K, V]{keys: inserted(n.keys, i+1, k), values: inserted(n.values, i+1, v)}).halve()
	}
	i = max(i, 0)
	child, more := n.children[i].with(k, v)
	out := &node[K, V]{keys: slices.Clone(n.keys), children: slices.Clone(n.children)}
	out.keys[i], out.children[i] = child.keys[0], child
	if more == nil {
		return out, nil
	}
	out.keys, out.children = inserted(out.keys, i+1, more.keys[0]), inserted(out.children, i+1, more)
	return out.halve()
}

// halve splits a node that is too wide.
func (n *node[K, V]) halve() (_, split *node[K, V]) {
	if len(n.keys) <= width {
		return n, nil
	}
	i := len(n.keys) / 2
	first, second := &node[K, V]{keys: n.keys[:i:i]}, &node[K, V]{keys: slices.Clone(n.keys[i:])}
	if n.children == nil {
		first.values, second.values = n.values[:i:i], slices.Clone(n.values[i:])
	} else {
		first.children, second.children = n.children[:i:i], slices.Clone(n.children[i:])
	}
	return first, second
}

func inserted[E any](list []E, i int, e E) []E {
	out := make([]E, len(list)+1)
	copy(out, list[:i])
	out[i] = e
	copy(out[i+1:], list[i:])
	return out
}

func removed[E any](list []E, i int) []E {
	return append(list[:i:i], list[i+1:]...)
}

// Without returns a map that lacks the key.
func (m Map[K, V]) Without(k K) Map[K, V] {
	if !m.Has(k) {
		return m
	}
	n := m.root.without(k)
	for n != nil && len(n.children) == 1 {
		n = n.children[0]
	}
	return Map[K, V]{n}
}

// without returns nil for a node that would be empty.
func (n *node[K, V]) without(k K) *node[K, V] {
	i, _ := n.at(k)
	if n.children == nil {
		if len(n.keys) == 1 {
			return nil
		}
		return &node[K, V]{keys: removed(n.keys, i), values: removed(n.values, i)}
	}
	child := n.children[i].without(k)
	if child == nil {
		if len(n.keys) == 1 {
			return nil
		}
		return &node[K, V]{keys: removed(n.keys, i), children: removed(n.children, i)}
	}
	out := &node[K, V]{keys: slices.Clone(n.keys), children: slices.Clone(n.children)}
	out.keys[i], out.children[i] = child.keys[0], child
	return out
}

// From iterates over the entries from a key on, in order.
func (m Map[K, V]) From(k K) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) { m.root.from(&k, yield) }
}

// All iterates over all entries, in order.
func (m Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) { m.root.from(nil, yield) }
}

// from reports whether to go on. A nil key is before all others.
func (n *node[K, V]) from(k *K, yield func(K, V) bool) bool {
	if n == nil {
		return true
	}
	i := 0
	if k != nil {
		var found bool
		if i, found = n.at(*k); i < 0 || n.children == nil && !found {
			i++
		}
	}
	for ; i < len(n.keys); i++ {
		if n.children == nil {
			if !yield(n.keys[i], n.values[i]) {
				return false
			}
			continue
		}
		if !n.children[i].from(k, yield) {
			return false
		}
		k = nil
	}
	return true
}
