package all_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/all"
)

// Each connector's settings have the fields that its config schema has properties: connectors.Bind says so of any
// config, also of an empty one, by an error that isn't about the config.
func TestSettings(t *testing.T) {
	t.Parallel()
	r, err := all.Registry()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range r.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := r.Get(name)
			opened, err := c.OpenReader(t.Context(), connectors.Config{Application: "trial", Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
			var typed *connectors.Error
			if !errors.As(err, &typed) || typed.Code != connectors.Invalid {
				t.Errorf("OpenReader without settings: %v, %v, want an error about the config", opened, err)
			}
		})
	}
}
