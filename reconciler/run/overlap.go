package run

import (
	"context"
	"fmt"
)

// overlaps returns an error for each application whose scope overlaps that of another on the same server: either would
// take what was approved in the other. Only applications that may overlap are opened.
func (p *pass) overlaps(ctx context.Context, names []string) map[string]error {
	servers := map[string]string{}
	server := func(name string) string {
		if s, ok := servers[name]; ok {
			return s
		}
		servers[name] = ""
		// One that can't be opened is reported when its turn comes.
		if live, err := p.openLive(ctx, p.base.Applications[name], p.base.Ledger); err == nil {
			servers[name] = live.description.Server
			_ = live.reader.Close() // nothing was written
		}
		return servers[name]
	}
	out := map[string]error{}
	for i, a := range names {
		for _, b := range names[i+1:] {
			typ, first, second := p.base.Applications[a].Overlap(p.base.Applications[b])
			if typ == "" || server(a) == "" || server(a) != server(b) {
				continue
			}
			refuse := func(name, own, other, theirs string) {
				if out[name] == nil {
					out[name] = fmt.Errorf("its scope overlaps that of application %s on the same server (%s %s and %s): narrow one of them, or make them one application", other, typ, own, theirs)
				}
			}
			refuse(a, first, b, second)
			refuse(b, second, a, first)
		}
	}
	return out
}
