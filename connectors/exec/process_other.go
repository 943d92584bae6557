//go:build !unix

package exec

import osexec "os/exec"

// supported reports whether limits on children can be enforced: this system has neither deadlines on pipes nor
// process groups.
const supported = false

func isolate(*osexec.Cmd, *User) {}

func prepareSelf() error { return nil }

func dropCapabilities() {}

func limitMemory(int, int64) error { return nil }

func reap(cmd *osexec.Cmd, before func()) error {
	err := cmd.Wait()
	before()
	return err
}

func killGroup(int) {}

func family(int, string) []int { return nil }

func killFamily(int, string) {}

func resident([]int) int64 { return 0 }
