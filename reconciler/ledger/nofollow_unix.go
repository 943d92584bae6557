//go:build unix

package ledger

import "syscall"

// noFollow makes opening a link fail: it could lead to a file of somebody else.
const noFollow = syscall.O_NOFOLLOW
