//go:build unix

package connectors

import "syscall"

const noFollow = syscall.O_NOFOLLOW
