package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/ledger/seal"
)

// The variables that give the ledger's key. No file in Git can name them: a settings file that could would give the key away.
const (
	envLedgerKey       = "COUNTERSIGN_LEDGER_KEY"
	envLedgerKeyFile   = "COUNTERSIGN_LEDGER_KEY_FILE"
	envLedgerPublicKey = "COUNTERSIGN_LEDGER_PUBLIC_KEY"
	// ledgerKeyName is the file of the key in the state folder, where init and audit new-key put it.
	ledgerKeyName = "ledger.key"
	maxKeyFile    = 4 << 10
)

// ledgerKey is the operator's key: of the flag, the environment or the state folder, in this order; nil for none.
func (a *app) ledgerKey(state string) (*seal.Key, error) {
	path := a.ledgerKeyFile
	if path == "" {
		if text := a.Getenv(envLedgerKey); text != "" {
			k, err := seal.ParseKey(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", envLedgerKey, err)
			}
			return k, nil
		}
		path = a.Getenv(envLedgerKeyFile)
	}
	if path != "" {
		return readLedgerKey(path)
	}
	k, err := readLedgerKey(filepath.Join(state, ledgerKeyName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return k, err
}

func readLedgerKey(path string) (*seal.Key, error) {
	text, err := readSmall(path)
	if err != nil {
		return nil, fmt.Errorf("read the ledger's key: %w", err)
	}
	k, err := seal.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// readSmall reads a regular file of a few lines.
func readSmall(path string) (_ string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return "", fmt.Errorf("%s: not a file with a key", path)
	}
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	return string(b), err
}

// ledgerPublicKey is the key that the operator trusts without having the private one; nil for none.
func (a *app) ledgerPublicKey() (*seal.Public, error) {
	text := a.Getenv(envLedgerPublicKey)
	if text == "" {
		return nil, nil
	}
	k, err := seal.ParsePublic(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", envLedgerPublicKey, err)
	}
	return k, nil
}

// newLedgerKey makes a key and writes it to a new file that only its owner can read. It returns the public half.
func (a *app) newLedgerKey(path string) (public string, err error) {
	private, public, err := seal.Generate(a.Random)
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	f, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(private + "\n")
	return public, errors.Join(err, f.Close())
}

// firstKey returns the public half of the key of a repository that begins, and where the private one is. It makes one
// unless there is one; "" where the folder isn't in a Git repository yet.
func (a *app) firstKey() (public, path string, err error) {
	repo, err := a.openRepository()
	if errors.Is(err, history.ErrNoRepository) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	state := a.stateDir(repo)
	if err := repo.Close(); err != nil {
		return "", "", err
	}
	k, err := a.ledgerKey(state)
	if err != nil {
		return "", "", err
	}
	if k != nil {
		return k.Public().String(), "", nil
	}
	path = filepath.Join(state, ledgerKeyName)
	public, err = a.newLedgerKey(path)
	return public, path, err
}
