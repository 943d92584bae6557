package cli

import (
	"io"

	"github.com/countersign/countersign/connectors/secrets"
)

// secretStore resolves the secrets that files may refer to: those that --secrets and COUNTERSIGN_SECRETS allow. A file
// in Git can't extend the list.
func (a *app) secretStore() *secrets.Store {
	if a.secrets == nil {
		a.secrets = secrets.New(secrets.Config{Allow: secrets.Patterns(append(a.allowed, a.Getenv("COUNTERSIGN_SECRETS"))...), Getenv: a.Getenv})
		// Keep countersign's own credentials out of the output, too.
		for _, name := range []string{"GITHUB_TOKEN", "COUNTERSIGN_APP_PRIVATE_KEY", envSecret} {
			if v := a.Getenv(name); v != "" {
				a.secrets.Add(v)
			}
		}
	}
	return a.secrets
}

// redacting writes to w without the secrets of the run. Each write is a complete message.
type redacting struct {
	w   io.Writer
	app *app
}

func (r redacting) Write(b []byte) (int, error) {
	if r.app.secrets != nil && r.app.secrets.Knows() {
		if _, err := io.WriteString(r.w, r.app.secrets.Redact(string(b))); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	return r.w.Write(b)
}
