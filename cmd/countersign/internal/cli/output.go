package cli

import (
	"log/slog"

	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/schemas"
)

// print writes a result in the format of --format.
func (a *app) print(v schemas.Output) error {
	a.progressEnd()
	o := report.Options{Color: a.Color, Width: a.Width}
	switch a.format {
	case formatJSON:
		return report.JSON(a.Stdout, v)
	case formatMarkdown:
		return report.Markdown(a.Stdout, v, o)
	}
	return report.Text(a.Stdout, v, o)
}

func (a *app) logger() *slog.Logger {
	level := slog.LevelWarn
	if a.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{Level: level}))
}
