package scim_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/countersign/countersign/connectors/connectortest"
)

// principalSchema is that of the third type of resource of the server in testdata/elimity.
const principalSchema = "urn:example:ServicePrincipal"

var (
	// elimityProcess builds and starts the server once for all tests.
	elimityProcess = sync.OnceValues(startElimity)
	elimityCount   atomic.Int64
)

// elimity is the running server. It ends when its standard input does, with this process.
type elimity struct {
	address string
	input   io.Closer
}

// elimityServer returns where the API of a fresh application on elimity-com/scim begins.
func elimityServer(t connectortest.TB) string {
	t.Helper()
	server, err := elimityProcess()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("http://%s/%d/v2", server.address, elimityCount.Add(1))
}

func startElimity() (server *elimity, err error) {
	dir, err := os.MkdirTemp("", "elimity")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }() // a running program needs its file no longer
	program := filepath.Join(dir, "elimity")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = filepath.Join("testdata", "elimity")
	build.Env = append(os.Environ(), "GOFLAGS=") // without the race detector, which would slow it down
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build testdata/elimity: %w\n%s", err, out)
	}
	cmd := exec.Command(program)
	cmd.Env = []string{"TOKEN=" + testToken}
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("testdata/elimity printed no address: %w", err)
	}
	return &elimity{address: strings.TrimSpace(line), input: input}, nil
}
