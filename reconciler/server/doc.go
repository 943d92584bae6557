// Package server applies what is merged, for as long as it runs: Pass makes one pass over the branch and publishes its
// outcome at the forge, Preview previews one pull request there, and Server repeats both.
//
// It is level-triggered. A webhook is a hint that something moved, and so is the clock: each time, the branch is fetched
// and judged, and a lost hint only delays. There is one pass at a time; hints that arrive meanwhile lead to one more. The
// next pass finishes one that was killed.
//
// A service that carries out operations by webhook reports results at /fulfilments. They are recorded as claims, and are
// hints too.
//
// It may import reconciler, reconciler/forge, reconciler/report and schemas. It names no forge.
package server
