// Package server keeps applications as Git says, for as long as it runs: Pass is one pass, with the outcome told at
// the forge; Server repeats it.
//
// It is level-triggered. A webhook is a hint that something moved, and so is the clock: the branch is fetched and
// judged anew each time, and a hint that was lost only delays. One pass is made at a time; what comes meanwhile leads
// to one more. A pass that is killed is finished by the next.
//
// Who carries operations out outside (a webhook) says so at /fulfilments: that is put on record as a claim, and is a hint
// like the others.
//
// It may import reconciler, reconciler/forge, reconciler/fulfil, reconciler/report and schemas.
package server
