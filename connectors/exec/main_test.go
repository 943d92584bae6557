package exec_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/exec"
	"github.com/countersign/countersign/schemas"
)

// TestMain lets the test binary be the child: casbin's connector out of process, or one that misbehaves.
func TestMain(m *testing.M) {
	role := ""
	for _, a := range os.Args[1:] {
		if r, ok := strings.CutPrefix(a, "child="); ok {
			role = r
		}
	}
	switch {
	case role == "":
		os.Exit(m.Run())
	case role == "casbin":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := exec.Serve(ctx, os.Stdin, os.Stdout, casbin.New()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case role == "parent":
		parent()
	default:
		script(role, bufio.NewScanner(os.Stdin), os.Stdout)
	}
}

// self is a config of the test binary in a role.
func self(t connectortest.TB, name, role string) exec.Config {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Config{Name: name, Path: path, Args: []string{"child=" + role}, Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}}
}

const pattern = `[^\\p{C}\\p{Zl}\\p{Zp}]+`

const good = `{"title":"Liar","config":{"type":"object","properties":{"token":{"x-secret":true,"description":"t"},"apply_token":{"x-secret":true,"description":"t"},"place":{"type":"string","description":"p"}},"additionalProperties":false},` +
	`"plan_script":"none","apply_script":"none","types":[{"name":"group","title":"Group","create":true,"delete":true,"update":true,` +
	`"payload":{"type":"object","properties":{"comment":{"type":"string","description":"c"}},"additionalProperties":false},"names":{"pattern":"` + pattern + `"},` +
	`"grantable":[{"type":"user","edge":"identity","privileges":["MEMBER"],"default":["MEMBER"],"names":{"pattern":"` + pattern + `"},"grant":true,"revoke":true},` +
	`{"type":"share","edge":"resource","privileges":["own","write","read"],"default":["read"],"implies":{"own":["write","read"],"write":["read"]},"single":true,"names":{"pattern":"` + pattern + `"},"grant":true,"revoke":true}]}]}`

// script is a connector written by hand, as an author in another language would. The role says where it misbehaves.
func script(whole string, in *bufio.Scanner, out io.Writer) {
	in.Buffer(nil, 16<<20)
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	hang := func() { time.Sleep(time.Hour) }
	id := 0
	mode := ""
	role, normalizes := strings.CutPrefix(whole, "normalizes ")
	for in.Scan() {
		id++
		line := in.Text()
		typ := between(line, `"type":"`, `"`)
		if at, ok := strings.CutPrefix(role, "raw "); ok {
			// raw TYPE LINE…: answers a request of the type with these lines, ID standing for its number.
			want, text, _ := strings.Cut(at, " ")
			if want == typ {
				say("%s", strings.ReplaceAll(strings.ReplaceAll(text, "ID", fmt.Sprint(id)), "⏎", "\n"))
				continue
			}
		}
		if role == "hang "+typ {
			hang()
		}
		if role == "exit "+typ {
			fmt.Fprintln(os.Stderr, "out of luck")
			os.Exit(7)
		}
		switch typ {
		case "hello":
			say(`{"id":%d,"type":"hello","hello":{"version":1,"normalizes":%v}}`, id, normalizes)
		case "describe":
			say(`{"id":%d,"type":"description","description":%s}`, id, good)
		case "describe_installation":
			say(`{"id":%d,"type":"description","description":%s}`, id, strings.Replace(good, `"title":"Liar"`, `"title":"Liar","version":"7"`, 1))
		case "open":
			mode = between(line, `"mode":"`, `"`)
			switch role {
			case "leak":
				fmt.Fprintf(os.Stderr, "the request is %s\n", line)
				say(`{"id":%d,"type":"error","error":{"code":"denied","message":%q}}`, id, "refused: "+line)
				continue
			case "argv":
				say(`{"id":%d,"type":"error","error":{"code":"invalid","message":%q}}`, id, strings.Join(os.Args, " ")+" "+strings.Join(os.Environ(), " "))
				continue
			case "echo":
				say(`{"id":%d,"type":"error","error":{"code":"invalid","message":%q}}`, id, line[:min(len(line), 3000)])
				continue
			}
			say(`{"id":%d,"type":"done","done":{"count":0}}`, id)
		case "read":
			switch role {
			case "flood":
				for {
					say(`{"id":%d,"type":"connections","connections":[]}`, id)
				}
			case "long":
				_, _ = io.WriteString(out, `{"id":`)
				for {
					_, _ = io.WriteString(out, strings.Repeat("1", 1<<16))
				}
			case "noise":
				for i := range 5000 {
					fmt.Fprintf(os.Stderr, "noise %d \x1b[31m\u202e %s\n", i, strings.Repeat("x", 8<<10))
				}
			case "grandchild":
				cmd := osexec.Command("sleep", "3600")
				cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
				if err := cmd.Start(); err != nil {
					panic(err)
				}
				say(`{"id":%d,"type":"connections","connections":[{"type":"group","source_name":"p%d"}]}`, id, cmd.Process.Pid)
				say(`{"id":%d,"type":"done","done":{"count":1}}`, id)
				continue
			case "daemon":
				// In a session of its own, its parent gone.
				out, err := osexec.Command("sh", "-c", "setsid sleep 3600 >/dev/null 2>&1 & echo $!").Output()
				if err != nil {
					panic(err)
				}
				say(`{"id":%d,"type":"connections","connections":[{"type":"group","source_name":"p%s"}]}`, id, strings.TrimSpace(string(out)))
				say(`{"id":%d,"type":"done","done":{"count":1}}`, id)
				continue
			case "spies":
				var found []string
				for _, name := range []string{"environ", "mem", "maps"} {
					if f, err := os.Open(fmt.Sprintf("/proc/%d/%s", os.Getppid(), name)); err == nil {
						if _, err := f.Read(make([]byte, 1)); err == nil || name == "mem" {
							found = append(found, name)
						}
					}
				}
				say(`{"id":%d,"type":"error","error":{"code":"denied","message":"it could read (%s)"}}`, id, strings.Join(found, " and "))
				continue
			case "forks":
				for {
					if err := osexec.Command("sleep", "3600").Start(); err != nil {
						hang()
					}
				}
			case "memory":
				var hold [][]byte
				for {
					b := make([]byte, 16<<20)
					for i := range b {
						b[i] = 1
					}
					hold = append(hold, b)
					if len(hold) > 1000 {
						return
					}
				}
			case "closed":
				_ = os.Stdout.Close()
				hang()
			}
			say(`{"id":%d,"type":"connections","connections":[{"type":"group","source_name":"a"},{"type":"group","source_name":"b"}]}`, id)
			say(`{"id":%d,"type":"entitlements","entitlements":[{"target":{"type":"user","source_name":"x"},"privilege":"MEMBER"}]}`, id)
			say(`{"id":%d,"type":"done","done":{"count":2}}`, id)
		case "list":
			say(`{"id":%d,"type":"items","items":[{"type":"user","source_name":"x"},{"type":"user","source_name":"a"}]}`, id)
			say(`{"id":%d,"type":"done","done":{"count":2}}`, id)
		case "apply":
			n := 0
			for part := range strings.SplitSeq(line, `{"id":"`) {
				op, _, ok := strings.Cut(part, `"`)
				if !ok || n == 0 && !strings.HasPrefix(op, "op") {
					continue
				}
				n++
				switch {
				case role == "die mid-apply" && n == 2:
					os.Exit(3)
				case role == "hang mid-apply" && n == 2:
					hang()
				case role == "slow" && n == 2:
					// A single thread: it sees the cancellation only after what it is at.
					time.Sleep(50 * time.Millisecond)
				}
				say(`{"id":%d,"type":"outcome","outcome":{"operation":"%s"}}`, id, op)
			}
			say(`{"id":%d,"type":"done","done":{"count":%d}}`, id, n)
		case "cancel":
		case "close":
			if role == "lingers" {
				say(`{"id":%d,"type":"done","done":{"count":0}}`, id)
				hang()
			}
			say(`{"id":%d,"type":"done","done":{"count":0}}`, id)
			return
		default:
			say(`{"id":%d,"type":"error","error":{"code":"unsupported","message":"no %s in mode %s"}}`, id, typ, mode)
		}
	}
}

// parent opens a reader whose child hangs, says the child's number, and waits to be killed.
func parent() {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	k, err := exec.New(context.Background(), exec.Config{Name: "liar", Path: path, Args: []string{"child=hang read"}, Env: os.Environ()})
	if err != nil {
		panic(err)
	}
	r, err := k.OpenReader(context.Background(), connectors.Config{Now: time.Now})
	if err != nil {
		panic(err)
	}
	go func() { _, _ = r.Read(context.Background(), schemas.Selection{}) }()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		panic(err)
	}
	for _, s := range stats {
		b, err := os.ReadFile(s)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if fields[0] != "Z" && fields[1] == fmt.Sprint(os.Getpid()) {
			fmt.Println(filepath.Base(filepath.Dir(s)))
		}
	}
	select {}
}

func between(s, before, after string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, after)
	return s
}
