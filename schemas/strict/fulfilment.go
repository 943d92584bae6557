package strict

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// urlFault explains why something signed must not be sent to an address, or "".
func urlFault(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return "is not a valid address (expected https://HOST/PATH)"
	case u.User != nil:
		return "has credentials in it (expected https://HOST/PATH; the signature proves the sender)"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "has a query or fragment, where secrets hide (expected https://HOST/PATH)"
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return ""
	case u.Scheme != "https":
		return "is not https (http is for loopback alone)"
	}
	return ""
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (d *decoder) checkFulfilment(f *schemas.Fulfilment) {
	way := func(more ...string) []string { return append([]string{"spec", "fulfilment"}, more...) }
	bounds := func(s, least, most string, more ...string) {
		if v := duration(s); s != "" && (v < duration(least) || v > duration(most)) {
			d.failPath("is out of bounds (expected "+least+" to "+most+")", "", way(more...)...)
		}
	}
	bounds(f.Grace, "1m", "720h", "grace")
	if w := f.Webhook; w != nil {
		bounds(w.Timeout, "1s", "10m", "webhook", "timeout")
		for _, a := range []struct{ name, url string }{{"url", w.URL}, {"callback", w.Callback}} {
			if a.url == "" {
				continue
			}
			if f := d.nameFault(a.url); f != "" {
				d.failPath(f, "", way("webhook", a.name)...)
			} else if f := urlFault(a.url); f != "" {
				d.failPath(f, "", way("webhook", a.name)...)
			}
		}
		d.checkLine(w.CAFile, way("webhook", "ca_file")...)
	}
	if t := f.Ticket; t != nil {
		for name, list := range map[string][]string{"labels": t.Labels, "assignees": t.Assignees, "closers": t.Closers} {
			for i, s := range list {
				d.checkLine(s, way("ticket", name, strconv.Itoa(i))...)
				if strings.TrimSpace(s) == "" {
					d.failPath("is empty", "", way("ticket", name, strconv.Itoa(i))...)
				}
			}
		}
	}
}

// duration is a text that the schema let pass.
func duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0
	}
	return d
}
