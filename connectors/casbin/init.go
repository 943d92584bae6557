package casbin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

const header = "# A casbin policy file that countersign manages. Its model is the one that countersign describes: p2\n" +
	"# declares roles and groups, p3 users, p4 objects. These lines grant nothing.\n"

// Contents lists the users and objects of a new store.
type Contents struct {
	Users   []string
	Objects []string
}

// Init creates a new store. It fails if the file exists or a name is invalid.
func Init(path string, c Contents) (err error) {
	const op = "create the policy file"
	content := []byte(header)
	for _, list := range []struct {
		section string
		names   []string
	}{{"p3", c.Users}, {"p4", c.Objects}} {
		for _, name := range slices.Compact(slices.Sorted(slices.Values(list.names))) {
			if err := checkName(op, name); err != nil {
				return err
			}
			content = append(content, join([]string{list.section, name})+"\n"...)
		}
	}
	f, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create the policy file: %w", err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return errors.Join(fmt.Errorf("create the policy file: %w", err), os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}
