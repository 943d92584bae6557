// Package fulfil is how somebody outside is asked to carry operations out: a service by a signed webhook, people by an
// issue. What they say of it is a claim; the reconciler reads the application and decides.
//
// Webhooks and their answers are signed as Standard Webhooks say (an HMAC with SHA-256 over id, time and body), with
// a secret that each application has of its own: https://www.standardwebhooks.com/. The id is the idempotency key.
//
// It may import connectors (errors, secrets), connectors/rest (the HTTP client that knows when to try again),
// reconciler/forge (tickets), reconciler/report (escaping for Markdown) and schemas.
package fulfil
