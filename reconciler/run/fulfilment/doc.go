// Package fulfilment implements provisioning by webhook and by ticket: how somebody outside is asked to carry
// operations out (a signed webhook, the text of an issue), and what a run does about the operations that they were asked for.
// Their answers are claims; a run reads the application and decides.
//
// Webhooks and their answers are signed as in Standard Webhooks (an HMAC with SHA-256 over id, time and body), with
// a secret that each application has of its own: https://www.standardwebhooks.com/. The id is the idempotency key.
//
// It may import ledger (what was asked for), plan and hold, connectors (errors, secrets), connectors/rest (the HTTP
// client that knows when to try again), reconciler/report (escaping for Markdown) and schemas.
package fulfilment
