package servers

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
)

// Moto starts moto, which imitates the services of AWS, and returns its address. It checks no credentials, and
// everybody works in account 123456789012.
func Moto(t TB) string {
	t.Helper()
	dir := folder(t, "")
	path, err := exec.LookPath("moto_server")
	if err != nil {
		t.Fatal("moto is not installed: pip install 'moto[server]' (.ci/test does not need it)")
	}
	for attempt := 1; ; attempt++ {
		port := freePort(t)
		url := fmt.Sprintf("http://127.0.0.1:%d", port)
		err := try(t, command(t, "", dir, path, "-H", "127.0.0.1", "-p", strconv.Itoa(port)), func(ctx context.Context) error {
			return answers(ctx, url+"/moto-api/")
		})
		if err == nil {
			return url
		}
		if attempt == 3 {
			t.Fatal(err)
		}
	}
}

// answers returns nil if the address answers with success.
func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 400 {
		return fmt.Errorf("%s answers with status %d", url, res.StatusCode)
	}
	return nil
}
