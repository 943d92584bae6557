package history_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/history"
	. "github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// deltas is a repository with long chains of deltas, packed as the options say, and its blobs with their content.
func deltas(t testing.TB, options ...string) (*Repo, map[string]string) {
	repo := New(t)
	blobs := map[string]string{}
	for i := range 40 {
		var b strings.Builder
		for j := range 60 + i {
			fmt.Fprintf(&b, "line %d of the file that changes a little: %d\n", j, j*j*(1+i/(1+j)))
		}
		repo.Write("requests/a.yaml", b.String()).Write(fmt.Sprintf("requests/%02d.yaml", i), fmt.Sprint(i)).Commit(CommitOptions{Message: fmt.Sprint("step ", i)})
		blobs[repo.Git("rev-parse", "HEAD:requests/a.yaml")] = b.String()
	}
	repo.Git(append(options, "repack", "-q", "-a", "-d", "-f", "--depth=50", "--window=50")...)
	repo.Git("prune-packed")
	return repo, blobs
}

func TestPacks(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]string{
		"offsets": nil, "names": {"-c", "repack.useDeltaBaseOffset=false"}, "many": {"-c", "pack.packSizeLimit=1m"}, "uncompressed": {"-c", "core.compression=0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo, blobs := deltas(t, options...)
			if out := repo.Git("count-objects"); !strings.HasPrefix(out, "0 objects") {
				t.Fatalf("not everything is packed: %s", out)
			}
			r := open(t, repo.Dir)
			for range 2 { // Cold, then remembered.
				for hash, want := range blobs {
					got, err := r.Blob(hash, int64(len(want)))
					if err != nil || string(got) != want {
						t.Fatalf("Blob(%s) = %d bytes, %v, want %d", hash, len(got), err, len(want))
					}
					clear(got)
					if _, err := r.Blob(hash, int64(len(want))-1); err == nil || !strings.Contains(err.Error(), "too large") {
						t.Fatalf("Blob(%s) over the limit = %v", hash, err)
					}
				}
			}
			if got := walk(t, r, "", "main", everything{}); len(got) != 120 {
				t.Errorf("walk = %d lines, want 120", len(got))
			}
		})
	}
}

// TestDamagedPack changes the pack's bytes: what is read is right or an error.
func TestDamagedPack(t *testing.T) {
	t.Parallel()
	repo, blobs := deltas(t)
	packs, err := filepath.Glob(filepath.Join(repo.Dir, ".git", "objects", "pack", "*.pack"))
	if err != nil || len(packs) != 1 {
		t.Fatalf("packs = %q, %v", packs, err)
	}
	good, err := os.ReadFile(packs[0])
	if err == nil {
		err = os.Chmod(packs[0], 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for at := 12; at < len(good)-20; at += 1 + len(good)/150 {
		bad := append([]byte{}, good...)
		bad[at] ^= byte(1 + at%255)
		if err := os.WriteFile(packs[0], bad, 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := history.Open(repo.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for hash, want := range blobs {
			got, err := r.Blob(hash, 1<<20)
			if err != nil {
				failed++
			} else if string(got) != want {
				t.Errorf("byte %d changed: Blob(%s) is wrong, without an error", at, hash)
			}
		}
		_, _ = tryWalk(t, r, "", "main", everything{})
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if failed == 0 {
		t.Error("nothing failed")
	}
}

// TestSynthetic holds the history for benchmarks to what it says.
func TestSynthetic(t *testing.T) {
	t.Parallel()
	for _, layout := range []Layout{Day, Month} {
		r := open(t, Synthetic(t, 70, 2, layout))
		to, err := r.Resolve("main")
		if err != nil {
			t.Fatal(err)
		}
		requests, folders := 0, map[string]bool{}
		err = r.Walk(t.Context(), "", to, everything{}, func(c *history.Commit) error {
			for _, x := range c.Changes {
				content, err := r.Blob(x.After.Blob, schemas.MaxFileBytes)
				if err != nil {
					return err
				}
				docs, errs := strict.Decode(x.Path, content)
				if err := errs.Err(); err != nil {
					return err
				}
				if strings.HasPrefix(x.Path, "requests/") {
					requests += len(docs) / 2
					folders[filepath.Dir(x.Path)] = true
				}
			}
			merged, err := r.MergedCommits(t.Context(), c)
			if err != nil || c.Parent == "" {
				return err
			}
			want := []history.Trailer{{Key: "Approved-by", Value: "Bob <bob@acme.test>"}}
			if diff := cmp.Diff(want, history.Trailers(c.Message)); diff != "" || len(merged) != 1 || merged[0].Author.Email != "alice@acme.test" {
				t.Errorf("merge %s of %d commits, trailers (-want +got):\n%s", c.Hash, len(merged), diff)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := map[Layout]int{Day: 3, Month: 1}[layout]; requests != 140 || len(folders) != want {
			t.Errorf("%s: %d requests in %d folders, want 140 in %d", layout, requests, len(folders), want)
		}
	}
}
