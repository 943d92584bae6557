package servers

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// emulator starts one service, and writes its port once it listens.
const emulator = `
import { writeFileSync } from 'node:fs';
const { createEmulator } = await import(process.argv[2]);
await createEmulator({ service: process.argv[3], port: Number(process.argv[4]), seed: JSON.parse(process.argv[5]) });
writeFileSync('listening', '');
`

// Emulate starts a service of the npm package emulate (okta, github, aws …), with the seed that its documentation
// describes, and returns its address. The package emulates a part of each API, by its authors' reading of it.
func Emulate(t TB, service string, seed map[string]any) string {
	t.Helper()
	_, self, _, _ := runtime.Caller(0)
	module := filepath.Join(filepath.Dir(self), "../../../.ci/npm/node_modules/emulate/dist/api.js")
	if _, err := os.Stat(module); err != nil {
		t.Fatalf("emulator not found: run .ci/test, or npm ci --prefix .ci/npm (%v)", err)
	}
	encoded, err := json.Marshal(seed)
	if err != nil {
		t.Fatal(err)
	}
	dir := folder(t, "")
	if err := os.WriteFile(filepath.Join(dir, "start.mjs"), []byte(emulator), 0o600); err != nil {
		t.Fatal(err)
	}
	node := program(t, "node")
	for range 5 {
		port := freePort(t)
		cmd := command(t, "", dir, node, "start.mjs", module, service, fmt.Sprint(port), string(encoded))
		err = try(t, cmd, func(context.Context) error {
			_, err := os.Stat(filepath.Join(dir, "listening"))
			return err
		})
		if err == nil {
			return fmt.Sprintf("http://127.0.0.1:%d", port)
		}
	}
	t.Fatal(err)
	return ""
}
