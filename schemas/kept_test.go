package schemas

import (
	"errors"
	"testing"
)

func TestKept(t *testing.T) {
	t.Parallel()
	var k Kept[int, int]
	made := 0
	of := func(key int, err error) (int, error) {
		return k.Of(key, func() (int, error) { made++; return -key, err })
	}
	refused := errors.New("refused")
	for range 2 {
		if _, err := of(1, refused); !errors.Is(err, refused) {
			t.Errorf("got %v, want the error", err)
		}
	}
	if made != 2 {
		t.Errorf("made %d times, want 2: an error isn't kept", made)
	}
	for range 2 {
		if v, err := of(1, nil); v != -1 || err != nil {
			t.Errorf("got %d, %v, want -1", v, err)
		}
	}
	if made != 3 {
		t.Errorf("made %d times, want 3: a result is kept", made)
	}
	for key := range 2 * maxKept {
		if v, err := of(key, nil); v != -key || err != nil {
			t.Fatalf("got %d, %v, want %d", v, err, -key)
		}
		if len(k.results) > maxKept {
			t.Fatalf("%d results are kept, want at most %d", len(k.results), maxKept)
		}
	}
}
