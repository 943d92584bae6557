package reconciler

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// outboxFile lists the outcomes that are not told at the forge yet. It is not a record: nothing is decided by it.
const outboxFile = "outbox.json"

// Outbox reads into v what an earlier pass could not tell at the forge. Without any, v stays as it is.
func (r *Reconciler) Outbox(v any) error {
	b, err := os.ReadFile(filepath.Join(r.config.State, outboxFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("read what is still to be told: %w", err)
	}
	return nil
}

// SetOutbox replaces what is still to be told; empty removes it.
func (r *Reconciler) SetOutbox(v any, empty bool) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep what is still to be told: %w", err)
		}
	}()
	path := filepath.Join(r.config.State, outboxFile)
	if empty {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(r.config.State, outboxFile+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
