package history

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // Git's names of blobs
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// maxIndex is the size of Git's index, in bytes, above which nobody looks for uncommitted files: it would take longer than
// the preview that asks. It is reached with about 10,000 files.
const maxIndex = 1 << 20

// Uncommitted returns the paths of the work tree that the filter lets through and that are not as the revision has them,
// sorted: new, changed, staged and removed ones. It returns nil for a bare clone and for a very large repository. Links aren't
// followed, and no program or setting of the checkout takes part.
func (r *Repository) Uncommitted(ctx context.Context, rev string, f Filter) (_ []string, err error) {
	if r.workTree == "" {
		return nil, nil
	}
	if info, err := os.Stat(filepath.Join(r.gitDir, "index")); err == nil && info.Size() > maxIndex {
		return nil, nil
	}
	files, err := r.Snapshot(ctx, rev, f)
	if err != nil {
		return nil, err
	}
	committed := make(map[string]string, len(files))
	for _, c := range files {
		committed[c.Path] = c.Blob
	}
	root, err := os.OpenRoot(r.workTree)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	var out []string
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || ctx.Err() != nil:
			return errors.Join(err, ctx.Err())
		case d.IsDir():
			if path != "." && (d.Name() == ".git" || !f.Dir(path)) {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular() || !f.File(path):
			return nil
		}
		blob, known := committed[path]
		delete(committed, path)
		if known {
			if same, err := hasBlob(root, path, blob); err != nil || same {
				return err
			}
		}
		out = append(out, path)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for uncommitted files: %w", err)
	}
	if _, err := os.Stat(filepath.Join(r.gitDir, "info", "sparse-checkout")); err != nil {
		for path := range committed { // removed, and not only left out of a sparse checkout
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out, nil
}

// hasBlob reports whether a file's content is that of a blob, as it is or with Git's own line ends.
func hasBlob(root *os.Root, path, blob string) (bool, error) {
	file, err := root.Open(path)
	if err != nil {
		return false, err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxObject))
	if err := errors.Join(err, file.Close()); err != nil {
		return false, err
	}
	return blobName(content) == blob || blobName(bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))) == blob, nil
}

func blobName(content []byte) string {
	h := sha1.New() //nolint:gosec // Git's names of blobs
	fmt.Fprintf(h, "blob %d\x00", len(content))
	h.Write(content)
	return hex.EncodeToString(h.Sum(nil))
}
