//go:build !unix

package casbin

import "os"

// keepOwner does nothing: a new file belongs to its folder's owner here.
func keepOwner(*os.File, os.FileInfo) error { return nil }

// syncDir does nothing: folders cannot be synced here.
func syncDir(string) error { return nil }
