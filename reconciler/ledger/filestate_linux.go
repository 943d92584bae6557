package ledger

import (
	"io/fs"
	"syscall"
)

func stateOf(info fs.FileInfo) (fileState, bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileState{}, false
	}
	return fileState{Size: s.Size, Inode: s.Ino, Changed: s.Ctim.Nano()}, true
}
