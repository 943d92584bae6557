package branch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/http"
)

func (b *Branch) remote() *gogit.Remote {
	return gogit.NewRemote(b.repo.Storer, &config.RemoteConfig{Name: "origin", URLs: []string{b.config.URL}})
}

func (b *Branch) auth(ctx context.Context) (transport.AuthMethod, error) {
	if b.config.Password == nil {
		return nil, nil
	}
	p, err := b.config.Password(ctx)
	if err != nil {
		return nil, err
	}
	return &http.BasicAuth{Username: "x-access-token", Password: p}, nil
}

// remoteTip fetches a branch and returns its tip; the zero hash where the branch doesn't exist.
func (b *Branch) remoteTip(ctx context.Context, name plumbing.ReferenceName) (plumbing.Hash, error) {
	auth, err := b.auth(ctx)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	found, err := b.listed(ctx, name, auth)
	if err != nil || found.IsZero() {
		return found, err
	}
	spec := config.RefSpec(fmt.Sprintf("+%s:refs/countersign/fetched/%s", name, name.Short()))
	for attempt := 1; ; attempt++ {
		err = b.remote().FetchContext(ctx, &gogit.FetchOptions{RemoteName: "origin", RefSpecs: []config.RefSpec{spec}, Auth: auth, Tags: gogit.NoTags, Force: true})
		if err == nil || errors.Is(err, gogit.NoErrAlreadyUpToDate) {
			break
		}
		err = fmt.Errorf("fetch %s: %w", name.Short(), err)
		// Another run may have moved the branch, or released the lease, since it was listed.
		now, lerr := b.listed(ctx, name, auth)
		switch {
		case lerr != nil || now == found || attempt == maxFetches:
			return plumbing.ZeroHash, errors.Join(err, lerr)
		case now.IsZero():
			return now, nil
		}
		found = now
	}
	r, err := b.repo.Reference(plumbing.ReferenceName("refs/countersign/fetched/"+name.Short()), true)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return r.Hash(), nil
}

// maxFetches is how often a branch that keeps moving is fetched.
const maxFetches = 5

// listed returns the tip of a branch of the remote; the zero hash where it doesn't exist.
func (b *Branch) listed(ctx context.Context, name plumbing.ReferenceName, auth transport.AuthMethod) (plumbing.Hash, error) {
	refs, err := b.remote().ListContext(ctx, &gogit.ListOptions{Auth: auth})
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return plumbing.ZeroHash, nil
	}
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("read the branches of the remote: %w", err)
	}
	found := plumbing.ZeroHash
	b.witnessed = plumbing.ZeroHash
	for _, r := range refs {
		switch r.Name() {
		case name:
			found = r.Hash()
		case witness:
			b.witnessed = r.Hash()
		}
	}
	return found, nil
}

// maxTries is how often a push with an unknown result is tried.
const maxTries = 4

// push moves the branch from the tip that was read to next, or returns ErrMoved. After a failure whose result is
// unknown it checks whether the commit has arrived.
func (b *Branch) push(ctx context.Context, next plumbing.Hash) error {
	local := plumbing.ReferenceName("refs/countersign/next")
	if err := b.repo.Storer.SetReference(plumbing.NewHashReference(local, next)); err != nil {
		return err
	}
	var failed error
	for try := range maxTries {
		if try > 0 {
			wait := time.Duration(try)*200*time.Millisecond + rand.N(200*time.Millisecond)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
		}
		err := b.pushRef(ctx, local, b.ref(), b.tip, b.besides(local)...)
		if err == nil {
			b.tip = next
			return b.repo.Storer.SetReference(plumbing.NewHashReference(trusted, next))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = err
		is, err := b.remoteTip(ctx, b.ref())
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
		case is == next:
			if !b.unwitnessed {
				b.unwitnessed = true
				b.config.Logger.Warn("the remote may not have taken the witness of the ledger", "reference", string(witness), "error", failed)
			}
			b.tip = next
			return b.repo.Storer.SetReference(plumbing.NewHashReference(trusted, next))
		case is != b.tip:
			return ErrMoved
		}
	}
	return fmt.Errorf("push to the ledger's branch: %w", failed)
}

// besides are the references that are moved with the branch.
func (b *Branch) besides(local plumbing.ReferenceName) []config.RefSpec {
	if b.unwitnessed {
		return nil
	}
	return []config.RefSpec{config.RefSpec("+" + string(local) + ":" + string(witness))}
}

// pushRef moves a reference of the remote from what it was read to be; the zero hash is not there. A zero from makes it,
// an empty local removes it. The server refuses when it is at something else by then.
func (b *Branch) pushRef(ctx context.Context, local, to plumbing.ReferenceName, from plumbing.Hash, besides ...config.RefSpec) error {
	auth, err := b.auth(ctx)
	if err != nil {
		return err
	}
	o := &gogit.PushOptions{RemoteName: "origin", Auth: auth, RefSpecs: []config.RefSpec{config.RefSpec(string(local) + ":" + string(to))}}
	if !from.IsZero() {
		o.RefSpecs[0] = "+" + o.RefSpecs[0]
		if local == "" {
			o.RefSpecs[0] = config.RefSpec(":" + string(to))
		}
		o.RequireRemoteRefs = []config.RefSpec{config.RefSpec(from.String() + ":" + string(to))}
	}
	o.RefSpecs = append(o.RefSpecs, besides...)
	err = b.remote().PushContext(ctx, o)
	if errors.Is(err, gogit.NoErrAlreadyUpToDate) {
		return nil
	}
	return err
}
