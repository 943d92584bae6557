//go:build unix

package history

import (
	"os"
	"strconv"
	"syscall"
)

const supportsOwners = true

// foreignOwner returns a file's owner, and whether that is somebody whom this process need not trust.
func foreignOwner(info os.FileInfo) (uid int, foreign bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, true
	}
	return int(stat.Uid), !trusts(os.Geteuid(), os.Getenv("SUDO_UID"), int(stat.Uid))
}

// trusts reports whether a process of a user trusts an owner: itself, root, or who became root with sudo.
func trusts(user int, sudo string, owner int) bool {
	return owner == user || owner == 0 || user == 0 && sudo != "" && sudo == strconv.Itoa(owner)
}
