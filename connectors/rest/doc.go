// Package rest is the HTTP client of connectors whose applications speak JSON over HTTP: it authenticates, sends
// nothing to other hosts, limits each try's time and each answer's size, waits as long as a rate limit requires,
// retries what is safe to retry, and converts answers to errors of package connectors without secrets.
//
// It knows no particular application: Config has an application's form of errors and rate limits.
package rest
