package report

import (
	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

func (b *builder) fulfil(r *schemas.FulfilReport) document {
	d := document{Icon: layout.MarkReady, Title: say("Recorded: operation {} in {} reported as {}", name(r.Operation), name(r.Application), word(r.Status)), Next: say("run countersign apply: it reads the application and verifies the result.")}
	if !r.Recorded {
		d.Title = say("Already recorded: operation {} in {} is {}", name(r.Operation), name(r.Application), word(r.Status))
	}
	d.Blocks = append(d.Blocks, para(say("Recorded by {}.", name(r.By))))
	return d
}

// fulfilment is the webhook or ticket that carries an operation out, and its answer.
func (b *builder) fulfilment(f *schemas.FulfilmentRecord) line {
	l := say("{} {}", word(f.Via), name(f.To))
	if f.By != "" {
		l = say("{}, by {}", l, name(f.By))
	}
	if f.Message != "" {
		l = say("{}: {}", l, b.sentence(f.Message))
	}
	return l
}
