package strict

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

func fulfilmentOf(t *testing.T, block string) (*schemas.Application, schemas.ErrorList) {
	t.Helper()
	docs, errs := Decode("applications/w.yaml", []byte("apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: w}\nspec:\n  connector: c\n  owners: [user:a]\n  scope: {}\n  provisioning: webhook\n  fulfilment:\n"+block))
	if len(errs) > 0 || len(docs) == 0 {
		return nil, errs
	}
	return docs[0].Value.(*schemas.Application), nil
}

func TestFulfilment(t *testing.T) {
	t.Parallel()
	a, errs := fulfilmentOf(t, "    webhook: {url: \"https://it.acme.test/hooks\", secret: {env: HOOK}}\n")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if w := a.Spec.Webhook(); w.Secret.Env != "HOOK" || w.TimeoutTime() != 30*time.Second || a.Spec.Fulfilment.GraceTime() != time.Hour {
		t.Errorf("decoded %+v", a.Spec.Fulfilment)
	}
	if tk := a.Spec.Ticket("acme/access"); tk.Repository != "acme/access" || tk.Closers[0] != "user:a" {
		t.Errorf("the ticket is %+v", tk)
	}
	a, errs = fulfilmentOf(t, "    grace: 90m\n    ticket: {repository: acme/it, closers: [\"team:acme/it\"], labels: [access], assignees: [bob]}\n")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if tk := a.Spec.Ticket("acme/access"); tk.Repository != "acme/it" || tk.Closers[0] != "team:acme/it" || a.Spec.Fulfilment.GraceTime() != 90*time.Minute || a.Spec.Webhook() != nil {
		t.Errorf("the ticket is %+v", tk)
	}
	var none *schemas.Fulfilment
	if none.GraceTime() != time.Hour {
		t.Error("without a block there is no grace")
	}
}

func TestFulfilmentRefuses(t *testing.T) {
	t.Parallel()
	hook := func(s string) string { return "    webhook: {" + s + "}\n" }
	const url, secret = `url: "https://it.acme.test/hooks"`, "secret: {env: HOOK}"
	for name, c := range map[string]struct{ block, want string }{
		"no secret":               {hook(url), "spec.fulfilment.webhook.secret: is missing"},
		"a literal secret":        {hook(url + ", secret: whsec_aHVudGVyMg=="), "spec.fulfilment.webhook.secret: a literal where a reference to a secret belongs"},
		"a literal as key":        {hook(url + ", secret: {hunter2: }"), "spec.fulfilment.webhook.secret: a literal where"},
		"both":                    {hook(url + ", secret: {env: A, file: /b}"), "spec.fulfilment.webhook.secret: a literal where"},
		"neither":                 {hook(url + ", secret: {}"), "spec.fulfilment.webhook.secret: a literal where"},
		"http":                    {hook(`url: "http://it.acme.test/hooks", ` + secret), "spec.fulfilment.webhook.url: is not https"},
		"ftp on loopback":         {hook(`url: "ftp://127.0.0.1/", ` + secret), "spec.fulfilment.webhook.url: is not https"},
		"credentials":             {hook(`url: "https://bob:hunter2@it.acme.test/", ` + secret), "spec.fulfilment.webhook.url: has credentials in it"},
		"a query":                 {hook(`url: "https://it.acme.test/?token=hunter2", ` + secret), "spec.fulfilment.webhook.url: has a query"},
		"no host":                 {hook(`url: "https:///hooks", ` + secret), "spec.fulfilment.webhook.url: is not a valid address"},
		"a loopback lookalike":    {hook(`url: "http://127.0.0.1.acme.test/", ` + secret), "spec.fulfilment.webhook.url: is not https"},
		"callback":                {hook(url + ", " + secret + `, callback: "http://acme.test/"`), "spec.fulfilment.webhook.callback: is not https"},
		"timeout":                 {hook(url + ", " + secret + ", timeout: 30"), "spec.fulfilment.webhook.timeout: expected text"},
		"timeout of nothing":      {hook(url + ", " + secret + ", timeout: soon"), "spec.fulfilment.webhook.timeout: malformed (expected a time like 30s, 10m or 1h)"},
		"timeout out of bounds":   {hook(url + ", " + secret + ", timeout: 11m"), "spec.fulfilment.webhook.timeout: is out of bounds (expected 1s to 10m)"},
		"grace out of bounds":     {"    grace: 1s\n", "spec.fulfilment.grace: is out of bounds"},
		"closers":                 {"    ticket: {closers: [bob]}\n", "spec.fulfilment.ticket.closers[0]: malformed"},
		"repository":              {"    ticket: {repository: access}\n", "spec.fulfilment.ticket.repository: malformed (expected owner/name)"},
		"misspelt":                {"    webhok: {}\n", "did you mean webhook?"},
		"invisible in an address": {hook("url: \"https://it.acme.test/\u200b\", " + secret), "the zero-width character U+200B"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, errs := fulfilmentOf(t, c.block)
			if len(errs) == 0 || !strings.Contains(errs.Error(), c.want) {
				t.Fatalf("got %v, want %q", errs, c.want)
			}
			if strings.Contains(errs.Error(), "hunter2") || strings.Contains(errs.Error(), "aHVudGVy") {
				t.Errorf("the error repeats the secret: %v", errs)
			}
			if errs[0].Line < 9 {
				t.Errorf("the error is placed at line %d", errs[0].Line)
			}
		})
	}
}
