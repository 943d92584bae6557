package schemas

import (
	"time"
)

// SecretReference locates a secret: exactly one of the two.
type SecretReference struct {
	Env  string `yaml:"env,omitempty" json:"env,omitempty" jsonschema_description:"The environment variable that holds it."`
	File string `yaml:"file,omitempty" json:"file,omitempty" jsonschema_description:"The absolute path of the file that holds it."`
}

// Fulfilment configures how operations are carried out by somebody other than countersign.
type Fulfilment struct {
	Webhook *WebhookFulfilment `yaml:"webhook,omitempty" json:"webhook,omitempty" jsonschema_description:"For provisioning: webhook. Operations are posted there, signed as Standard Webhooks require."`
	Ticket  *TicketFulfilment  `yaml:"ticket,omitempty" json:"ticket,omitempty" jsonschema_description:"For provisioning: ticket. Operations are written into issues, for people to carry out."`
	Grace   string             `yaml:"grace,omitempty" json:"grace,omitempty" jsonschema:"maxLength=7,pattern=^[1-9][0-9]*(s|m|h)$,default=1h" jsonschema_description:"How long after an operation was reported as done, or as failed, it is asked for again when it still doesn't show."`
}

// WebhookFulfilment is the service that carries operations out.
type WebhookFulfilment struct {
	URL      string          `yaml:"url" json:"url" jsonschema:"minLength=1,maxLength=2000" jsonschema_description:"Where operations are posted: https, without credentials or query; http on loopback only."`
	Secret   SecretReference `yaml:"secret" json:"secret" jsonschema_description:"What requests and answers are signed with: whsec_ and 24 to 64 bytes in base64."`
	Timeout  string          `yaml:"timeout,omitempty" json:"timeout,omitempty" jsonschema:"maxLength=7,pattern=^[1-9][0-9]*(s|m|h)$,default=30s" jsonschema_description:"How long one try may take."`
	Callback string          `yaml:"callback,omitempty" json:"callback,omitempty" jsonschema:"maxLength=2000" jsonschema_description:"Where the service sends answers that come later: https://HOST/fulfilments of countersign serve. It is told to the service, nothing more."`
	CAFile   string          `yaml:"ca_file,omitempty" json:"ca_file,omitempty" jsonschema:"pattern=^/.*[^/]$" jsonschema_description:"A file of certificates (PEM) that the service's is checked with, in place of the system's."`
}

// TicketFulfilment is where people are asked to carry operations out.
type TicketFulfilment struct {
	Repository string   `yaml:"repository,omitempty" json:"repository,omitempty" jsonschema:"maxLength=255,pattern=^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$" jsonschema_description:"owner/name at the forge whose issues are the tickets; default: the access repository."`
	Labels     []string `yaml:"labels,omitempty" json:"labels,omitempty" jsonschema:"maxItems=20" jsonschema_description:"Labels of the issue, beside countersign."`
	Assignees  []string `yaml:"assignees,omitempty" json:"assignees,omitempty" jsonschema:"maxItems=10" jsonschema_description:"Logins that the issue is assigned to."`
	Closers    []string `yaml:"closers,omitempty" json:"closers,omitempty" jsonschema_description:"Whose closing of the issue counts: user:LOGIN or team:NAME; default: the application's owners. Never who made the request or gains by it."`
}

// GraceTime is Grace as a duration: the default's where it is not given.
func (f *Fulfilment) GraceTime() time.Duration {
	if f == nil {
		return duration(defaultGrace)
	}
	return duration(orDefault(f.Grace, defaultGrace))
}

// TimeoutTime is Timeout as a duration.
func (w *WebhookFulfilment) TimeoutTime() time.Duration {
	return duration(orDefault(w.Timeout, defaultWebhookTimeout))
}

// duration is a text that the schema let pass.
func duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0
	}
	return d
}

// Webhook is the application's service for provisioning webhook; nil for none.
func (s *ApplicationSpec) Webhook() *WebhookFulfilment {
	if s.Fulfilment == nil {
		return nil
	}
	return s.Fulfilment.Webhook
}

// Ticket is where the application's tickets are, with what is left out filled in.
func (s *ApplicationSpec) Ticket(access string) TicketFulfilment {
	t := TicketFulfilment{}
	if s.Fulfilment != nil && s.Fulfilment.Ticket != nil {
		t = *s.Fulfilment.Ticket
	}
	t.Repository = orDefault(t.Repository, access)
	if len(t.Closers) == 0 {
		t.Closers = s.Owners
	}
	return t
}

// The values of FulfilmentRequest.Type.
const (
	FulfilmentRequested = "fulfilment.requested"
	FulfilmentCancelled = "fulfilment.cancelled"
)

// FulfilmentRequest is what a webhook is sent, signed as Standard Webhooks require. It may come twice: the header
// webhook-id is its idempotency key.
type FulfilmentRequest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"` // FulfilmentRequest
	// Type is fulfilment.requested, or fulfilment.cancelled for one that is no longer wanted.
	Type      string                `json:"type"`
	Timestamp time.Time             `json:"timestamp"`
	Data      FulfilmentRequestData `json:"data"`
}

// FulfilmentRequestData is one operation, with what asks for it. It holds no secret.
type FulfilmentRequestData struct {
	// ID names this request in answers. It is the header webhook-id of the request itself.
	ID          string `json:"id"`
	Application string `json:"application"`
	Connector   string `json:"connector"`
	// Text describes in plain words what to do.
	Text      string              `json:"text"`
	Operation FulfilmentOperation `json:"operation"`
	// Requests are the documents that ask for it; none for access that nobody asked for.
	Requests []FulfilmentSource `json:"requests"`
	// Callback is where an answer that comes later is sent; "" for nowhere.
	Callback string `json:"callback,omitempty"`
	// Why explains why a request is cancelled.
	Why string `json:"why,omitempty"`
}

// FulfilmentOperation is what is to be done. Doing it twice is doing it once.
type FulfilmentOperation struct {
	ID         string        `json:"id"`
	Kind       OperationKind `json:"kind"`
	Connection Name          `json:"connection"`
	// NativeID and TargetID are the application's own ids, where they are known.
	NativeID  string         `json:"native_id,omitempty"`
	Target    *Name          `json:"target,omitempty"`
	TargetID  string         `json:"target_id,omitempty"`
	Privilege string         `json:"privilege,omitempty"`
	Before    map[string]any `json:"before,omitempty"`
	After     map[string]any `json:"after,omitempty"`
	// ReassignTo is the new owner of what a deleted connection owns.
	ReassignTo string `json:"reassign_to,omitempty"`
	Cause      Cause  `json:"cause"`
	Privileged bool   `json:"privileged"`
	// Expires is when the grant will be taken away again: that is asked for then.
	Expires *time.Time `json:"expires,omitempty"`
}

// FulfilmentSource is a document that asks for an operation.
type FulfilmentSource struct {
	Document DocumentID `json:"document"`
	Kind     Kind       `json:"kind,omitempty"`
	Name     string     `json:"name,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Ticket   string     `json:"ticket,omitempty"`
	// PullRequest is the one that brought it, and URL leads there.
	PullRequest int    `json:"pull_request,omitempty"`
	URL         string `json:"url,omitempty"`
}

// FulfilmentAnswer is the result of a request: as the body of the answer to it, or later, signed, to its
// callback. An application that can be read is read all the same: applied is a claim until then.
type FulfilmentAnswer struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind,omitempty"` // FulfilmentAnswer
	// Application, Operation and ID are those of the request. A callback has them; in an answer they may be left out.
	Application string        `json:"application,omitempty"`
	Operation   string        `json:"operation,omitempty"`
	ID          string        `json:"id,omitempty"`
	Status      OutcomeStatus `json:"status" jsonschema:"enum=pending,enum=applied,enum=failed"`
	// Message is for people: why it failed, or where it is kept.
	Message string `json:"message,omitempty"`
	// By is who did it, as the service reports.
	By string `json:"by,omitempty"`
}

// FulfilmentRecord is what somebody outside was asked, and the result they reported.
type FulfilmentRecord struct {
	Operation string `json:"operation"`
	// Submission names this asking. Asked again after an end, an operation has another one.
	Submission string `json:"submission"`
	// Round is how often the operation was asked for before.
	Round int          `json:"round,omitempty"`
	Via   Provisioning `json:"via"`
	// Token is the requests' assertion about the operation's item, as the baseline has it.
	Token string `json:"token,omitempty"`
	// To is the webhook's host, or the ticket (owner/name#12); URL leads there.
	To  string `json:"to,omitempty"`
	URL string `json:"url,omitempty"`
	// Method is how it is known, By who reported it, and Authenticated means that the forge or a signature vouches for that.
	Method        FulfilmentMethod `json:"method,omitempty"`
	By            string           `json:"by,omitempty"`
	Authenticated bool             `json:"authenticated,omitempty"`
	// Independent means that the reporter neither made the request nor gains by it; nil is not known.
	Independent *bool  `json:"independent,omitempty"`
	Message     string `json:"message,omitempty"`
}

// FulfilmentStatus is an operation that somebody outside is at, or was.
type FulfilmentStatus struct {
	Operation string       `json:"operation"`
	Via       Provisioning `json:"via"`
	// State is submitting, pending, applied (reported, and not seen yet), failed, withdrawn, verified or attested.
	State FulfilmentState `json:"state"`
	To    string          `json:"to,omitempty"`
	URL   string          `json:"url,omitempty"`
	Since time.Time       `json:"since"`
	By    string          `json:"by,omitempty"`
	// Message is their text.
	Message string `json:"message,omitempty"`
}

// FulfilReport is the answer of countersign fulfil.
type FulfilReport struct {
	APIVersion  string        `json:"apiVersion"`
	Kind        string        `json:"kind"` // Fulfil
	Application string        `json:"application"`
	Operation   string        `json:"operation"`
	Status      OutcomeStatus `json:"status"`
	By          string        `json:"by"`
	// Recorded is false where the same was on record already.
	Recorded bool      `json:"recorded"`
	At       time.Time `json:"at"`
}
