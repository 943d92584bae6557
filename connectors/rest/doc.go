// Package rest is the HTTP client of connectors whose applications speak JSON over HTTP: it authenticates, sends
// nothing to another host, bounds each try in time and each answer in size, waits where the application says
// when to come back, tries again what may be tried again, and turns answers into errors of package connectors
// that hold no secret.
//
// It knows no application: how one words its errors and rate limits is in Config.
package rest
