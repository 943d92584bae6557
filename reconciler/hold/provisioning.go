package hold

import (
	"fmt"

	"github.com/countersign/countersign/schemas"
)

// Fault is why operations cannot be carried out in one way of provisioning, and what fixes it.
type Fault struct{ Why, Fix string }

// Unprovisionable returns the ways of provisioning that an application does not have, with the reason.
func Unprovisionable(app *schemas.Application, forge string, d schemas.Description) map[schemas.Provisioning]Fault {
	out := map[schemas.Provisioning]Fault{}
	if app.Spec.Webhook() == nil {
		out[schemas.ProvisioningWebhook] = Fault{"the application " + app.Name + " doesn't have a fulfilment.webhook", "an owner adds spec.fulfilment.webhook with url and secret"}
	}
	if forge == "local" {
		out[schemas.ProvisioningTicket] = Fault{"tickets are issues at GitHub, and the forge is " + forge, "use webhook or direct"}
	}
	if d.Attested {
		out[schemas.ProvisioningDirect] = Fault{d.Title + " is attested: nothing can be changed from here", "use webhook or ticket"}
	}
	return out
}

// ProvisioningErrors refuses a document that asks for a way of provisioning that its application does not have.
func ProvisioningErrors(d schemas.Document, p schemas.Provisioning, missing map[schemas.Provisioning]Fault) schemas.ErrorList {
	f, bad := missing[p]
	if !bad {
		return nil
	}
	return schemas.ErrorList{{Position: d.At("spec.provisioning"), Field: "spec.provisioning", Msg: fmt.Sprintf("%s cannot be carried out: %s", p, f.Why), Hint: f.Fix}}
}
