package secrets

import (
	"context"
	"fmt"
	"log/slog"
)

// Handler returns a handler that takes the secrets out of everything before next has it.
func (r *Redactor) Handler(next slog.Handler) slog.Handler { return handler{r, next} }

type handler struct {
	redactor *Redactor
	next     slog.Handler
}

func (h handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h handler) Handle(ctx context.Context, in slog.Record) error {
	out := slog.NewRecord(in.Time, in.Level, h.redactor.Redact(in.Message), in.PC)
	in.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(h.attr(a))
		return true
	})
	return h.next.Handle(ctx, out)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.attr(a)
	}
	return handler{h.redactor, h.next.WithAttrs(clean)}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.redactor, h.next.WithGroup(name)}
}

func (h handler) attr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, h.redactor.Redact(v.String()))
	case slog.KindGroup:
		var inner []any
		for _, x := range v.Group() {
			inner = append(inner, h.attr(x))
		}
		return slog.Group(a.Key, inner...)
	case slog.KindAny:
		text := fmt.Sprintf("%+v", v.Any())
		if clean := h.redactor.Redact(text); clean != text {
			return slog.String(a.Key, clean)
		}
	}
	return a
}
