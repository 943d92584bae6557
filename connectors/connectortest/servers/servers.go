// Package servers starts real servers for tests: on loopback, in a temporary folder, each its own. A server
// that is not installed fails the test with instructions.
package servers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// folder creates a temporary folder that the account owner may write to when the tests run as root; "" means the
// account that runs the tests. It isn't t.TempDir, which the account couldn't enter.
func folder(t TB, owner string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "countersign-server-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the server's folder: %v", err)
		}
	})
	if owner == "" || os.Geteuid() != 0 {
		return dir
	}
	as := account(t, owner)
	if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func account(t TB, name string) *syscall.Credential {
	t.Helper()
	account, err := user.Lookup(name)
	if err != nil {
		t.Fatalf("the server does not run as root, and there is no user %s: run .ci/test", name)
	}
	uid, err1 := strconv.ParseUint(account.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(account.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		t.Fatalf("user %s has the ids %s and %s", name, account.Uid, account.Gid)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// command prepares a program that runs as the account owner ("": the account that runs the tests), with only PATH of
// the tests' environment.
func command(t TB, owner, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	if owner != "" && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account(t, owner)}
	}
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8", "TZ=UTC"}
	return cmd
}

func run(t TB, owner, dir, name string, args ...string) {
	t.Helper()
	if out, err := command(t, owner, dir, name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(name), err, out)
	}
}

// program finds an installed program by its names, the first that exists.
func program(t TB, names ...string) string {
	t.Helper()
	for _, n := range names {
		for _, dir := range []string{"", "/usr/sbin", "/usr/local/sbin"} {
			if path, err := exec.LookPath(filepath.Join(dir, n)); err == nil {
				return path
			}
		}
	}
	t.Fatalf("%s is not installed: run .ci/test, which installs what the tests need", strings.Join(names, " or "))
	return ""
}

// background starts a server, waits until ready returns nil, and stops it with the test. A server that exits by
// itself, or isn't ready within a minute, fails the test with its output.
func background(t TB, cmd *exec.Cmd, ready func(context.Context) error) {
	t.Helper()
	if err := try(t, cmd, ready); err != nil {
		t.Fatal(err)
	}
}

// try is like background, for a server that may fail to start because its port was taken meanwhile.
func try(t TB, cmd *exec.Cmd, ready func(context.Context) error) error {
	t.Helper()
	out, err := os.CreateTemp(cmd.Dir, "log-*")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", filepath.Base(cmd.Path), err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	fail := func(why error) error {
		said, err := os.ReadFile(out.Name())
		if err != nil {
			said = []byte(err.Error())
		}
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), why, said)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			break
		}
		select {
		case ended := <-ended:
			return fail(fmt.Errorf("ended before it was ready: %v", ended))
		case <-ctx.Done():
			if err := cmd.Process.Kill(); err != nil {
				t.Logf("kill: %v", err)
			}
			<-ended
			return fail(fmt.Errorf("was not ready in time: %w", err))
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Errorf("stop %s: %v", filepath.Base(cmd.Path), err)
		}
		<-ended
	})
	return nil
}

func freePort(t TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("no TCP address: %v", l.Addr())
	}
	return addr.Port
}
