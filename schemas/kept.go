package schemas

import "sync"

// maxKept bounds what is kept: a process that runs for years meets descriptions that change.
const maxKept = 1000

// Kept remembers results that depend on their key alone. Errors aren't kept. It is safe for concurrent use.
type Kept[K comparable, V any] struct {
	mu      sync.Mutex
	results map[K]V
}

// Of returns the result for a key, made by make unless it is kept.
func (k *Kept[K, V]) Of(key K, make func() (V, error)) (V, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if v, ok := k.results[key]; ok {
		return v, nil
	}
	v, err := make()
	if err != nil {
		return v, err
	}
	if k.results == nil || len(k.results) >= maxKept {
		k.results = map[K]V{}
	}
	k.results[key] = v
	return v, nil
}
