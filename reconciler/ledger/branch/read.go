package branch

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

const (
	// maxFile bounds one file, and maxLine one record: a record holds at most ledger.MaxPlanned operations.
	maxFile = 256 << 20
	maxLine = 64 << 20
)

// message of a commit: which records it holds, the hash of the last, and the signed note of that head.
var message = regexp.MustCompile(`^ledger: records ([0-9]+) to ([0-9]+)\n\nhead ([0-9a-f]{64})\n?(?:\n(countersign\.dev/ledger/(?s:.+)))?$`)

// line are the commits that hold records after a sequence, oldest first. On the way from the tip there must be the one
// that is known, each commit must have one parent, and the first none.
func (b *Branch) line(tip, known plumbing.Hash, sequence int64) ([]*object.Commit, error) {
	var out []*object.Commit
	anchored, met := b.config.Anchor == "" || !known.IsZero(), known.IsZero()
	after := int64(0) // the first record of the commit that follows
	for h := tip; ; {
		anchored, met = anchored || h.String() == b.config.Anchor, met || h == known
		c, err := b.repo.CommitObject(h)
		if err != nil {
			return nil, &AlteredError{Commit: h.String(), What: "it cannot be read: " + err.Error()}
		}
		m := message.FindStringSubmatch(c.Message)
		if m == nil {
			return nil, &AlteredError{Commit: h.String(), What: "its message is not the ledger's"}
		}
		first, err := strconv.ParseInt(m[1], 10, 64)
		last, lerr := strconv.ParseInt(m[2], 10, 64)
		if err != nil || lerr != nil || first > last || after != 0 && last != after-1 || len(c.ParentHashes) == 0 && first != 1 {
			return nil, &AlteredError{Commit: h.String(), What: "the records of its message do not go on to the next commit's"}
		}
		after = first
		if last > sequence {
			out = append(out, c)
		} else if anchored && met {
			break
		}
		if len(c.ParentHashes) > 1 {
			return nil, &AlteredError{Commit: h.String(), What: "it is a merge"}
		}
		if len(c.ParentHashes) == 0 {
			if !met {
				return nil, &RewrittenError{Was: known.String(), Is: tip.String()}
			}
			if !anchored {
				return nil, &RewrittenError{Was: b.config.Anchor, Is: tip.String()}
			}
			break
		}
		h = c.ParentHashes[0]
	}
	slices.Reverse(out)
	return out, nil
}

var fileName = regexp.MustCompile(`^[0-9]{4}/[0-9]{2}/[0-9]{2}/[0-9]{12}\.jsonl$`)

// records are the lines of the files that the commits add.
func (b *Branch) records(ctx context.Context, commits []*object.Commit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for i, c := range commits {
			b.config.Progress("read the ledger's branch", i, len(commits))
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			if err := b.lines(c, yield); err != nil {
				if !errors.Is(err, errStopped) {
					yield("", err)
				}
				return
			}
		}
	}
}

var errStopped = errors.New("stopped")

func (b *Branch) lines(c *object.Commit, yield func(string, error) bool) (err error) {
	altered := func(name, what string) error {
		return &AlteredError{Commit: c.Hash.String(), Path: name, What: what}
	}
	name, blob, err := b.added(c)
	if err != nil {
		return err
	}
	m := message.FindStringSubmatch(c.Message)
	if m == nil {
		return altered("", "its message is not the ledger's")
	}
	if want := fmt.Sprintf("%s.jsonl", pad(m[1])); path.Base(name) != want {
		return altered(name, "its message names other records than the file's name")
	}
	if blob.Size > maxFile {
		return altered(name, "it is too large")
	}
	r, err := blob.Reader()
	if err != nil {
		return altered(name, "it cannot be read")
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	s.Split(wholeLines)
	for s.Scan() {
		if !yield(s.Text(), nil) {
			return errStopped
		}
	}
	if s.Err() != nil {
		return altered(name, s.Err().Error())
	}
	return nil
}

func pad(sequence string) string { return strings.Repeat("0", max(12-len(sequence), 0)) + sequence }

// wholeLines splits like bufio.ScanLines, and refuses a last line without its end, and empty ones.
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	i := bytes.IndexByte(data, '\n')
	switch {
	case i == 0:
		return 0, nil, errors.New("it has an empty line")
	case i > 0:
		return i + 1, data[:i], nil
	case atEOF && len(data) > 0:
		return 0, nil, errors.New("its last line is cut off")
	}
	return 0, nil, nil
}

// added is the one file that a commit adds.
func (b *Branch) added(c *object.Commit) (string, *object.Blob, error) {
	altered := func(name, what string) error {
		return &AlteredError{Commit: c.Hash.String(), Path: name, What: what}
	}
	before := map[string]object.TreeEntry{}
	tree, err := c.Tree()
	if err != nil {
		return "", nil, altered("", "its tree cannot be read")
	}
	var was *object.Tree
	if len(c.ParentHashes) > 0 {
		parent, err := b.repo.CommitObject(c.ParentHashes[0])
		if err != nil {
			return "", nil, err
		}
		if was, err = parent.Tree(); err != nil {
			return "", nil, altered("", "its parent's tree cannot be read")
		}
	}
	// Follow the one path that differs: on each level exactly one entry is new or changed.
	name := ""
	for depth := 0; ; depth++ {
		clear(before)
		if was != nil {
			for _, e := range was.Entries {
				before[e.Name] = e
			}
		}
		var differs []object.TreeEntry
		for _, e := range tree.Entries {
			old, ok := before[e.Name]
			if !ok || old != e {
				differs = append(differs, e)
			}
			delete(before, e.Name)
		}
		switch {
		case len(before) > 0:
			return "", nil, altered(name, "it removes something")
		case len(differs) != 1:
			return "", nil, altered(name, fmt.Sprintf("it changes %d entries at once", len(differs)))
		}
		e := differs[0]
		name = path.Join(name, e.Name)
		if depth == 3 {
			if e.Mode != filemode.Regular || !fileName.MatchString(name) {
				return "", nil, altered(name, "it is not a file of the ledger")
			}
			if was != nil {
				for _, o := range was.Entries {
					if o.Name == e.Name {
						return "", nil, altered(name, "it changes a file")
					}
				}
			}
			blob, err := b.repo.BlobObject(e.Hash)
			if err != nil {
				return "", nil, altered(name, "it cannot be read")
			}
			return name, blob, nil
		}
		if e.Mode != filemode.Dir {
			return "", nil, altered(name, "it is not a folder of the ledger")
		}
		if tree, err = b.repo.TreeObject(e.Hash); err != nil {
			return "", nil, altered(name, "it cannot be read")
		}
		below := was
		was = nil
		if below != nil {
			for _, o := range below.Entries {
				if o.Name != e.Name {
					continue
				}
				if o.Mode != filemode.Dir {
					return "", nil, altered(name, "it puts a folder in a file's place")
				}
				if was, err = b.repo.TreeObject(o.Hash); err != nil {
					return "", nil, altered(name, "it cannot be read")
				}
			}
		}
	}
}
