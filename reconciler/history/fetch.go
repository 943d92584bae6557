package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// Remote is where a clone is brought up to date from.
type Remote struct {
	// URL is an https address, or a path.
	URL string
	// Password is what authenticates as x-access-token; nil is nobody.
	Password func(context.Context) (string, error)
}

// Fetch brings references of the remote into a clone, by forced refspecs: what was rewritten there is rewritten here,
// and found by the judge. A folder that is not there, or is empty, becomes a bare clone. The answer reports whether
// any of them moved.
func Fetch(ctx context.Context, dir string, r Remote, refspecs ...string) (moved bool, err error) {
	repo, err := openOrInit(dir, refspecs[0])
	if err != nil {
		return false, fmt.Errorf("open the clone %s: %w", dir, err)
	}
	var auth transport.AuthMethod
	if r.Password != nil {
		password, err := r.Password(ctx)
		if err != nil {
			return false, err
		}
		auth = &http.BasicAuth{Username: "x-access-token", Password: password}
	}
	specs := make([]config.RefSpec, len(refspecs))
	for i, s := range refspecs {
		specs[i] = config.RefSpec("+" + s)
		if err := specs[i].Validate(); err != nil {
			return false, fmt.Errorf("fetch %s: %w", s, err)
		}
	}
	files, ok := repo.Storer.(*filesystem.Storage)
	if !ok {
		return false, fmt.Errorf("the clone %s is stored in a %T (expected files)", dir, repo.Storer)
	}
	remote := gogit.NewRemote(storer{files}, &config.RemoteConfig{Name: "origin", URLs: []string{r.URL}})
	err = remote.FetchContext(ctx, &gogit.FetchOptions{RemoteName: "origin", RefSpecs: specs, Auth: auth, Tags: gogit.NoTags, Force: true})
	switch {
	case errors.Is(err, gogit.NoErrAlreadyUpToDate):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("fetch %s: %w", strings.Join(refspecs, " "), err)
	}
	if again, ok := reopened(dir); ok {
		if err := consolidate(again); err != nil {
			return true, fmt.Errorf("tidy up the clone %s: %w", dir, err)
		}
	}
	return true, nil
}

// reopened is the clone's storage with the packs as they are now.
func reopened(dir string) (*filesystem.Storage, bool) {
	repo, err := openOrInit(dir, "")
	if err != nil {
		return nil, false
	}
	files, ok := repo.Storer.(*filesystem.Storage)
	return files, ok
}

func openOrInit(dir, refspec string) (*gogit.Repository, error) {
	repo, err := gogit.PlainOpen(dir)
	if errors.Is(err, gogit.ErrRepositoryNotExists) {
		// A folder in a work tree, or a linked one.
		repo, err = gogit.PlainOpenWithOptions(dir, &gogit.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
	}
	if !errors.Is(err, gogit.ErrRepositoryNotExists) {
		return repo, err
	}
	some, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return nil, err
	}
	if len(some) > 0 {
		return nil, errors.New("the folder is not a repository, and not empty")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if repo, err = gogit.PlainInit(dir, true); err != nil {
		return nil, err
	}
	// The first fetch is of what the clone is about.
	_, to, _ := strings.Cut(refspec, ":")
	return repo, repo.Storer.SetReference(plumbing.NewSymbolicReference(plumbing.HEAD, plumbing.ReferenceName(to)))
}

// Origin is the address of a clone's remote origin.
func Origin(dir string) (string, error) {
	repo, err := gogit.PlainOpen(dir)
	if err != nil {
		return "", fmt.Errorf("open the clone %s: %w", dir, err)
	}
	r, err := repo.Remote("origin")
	if err != nil || len(r.Config().URLs) == 0 {
		return "", errors.New("the clone doesn't have a remote named origin")
	}
	return r.Config().URLs[0], nil
}
