// Package validate checks the control files of a folder offline, without Git or any application: what a requester can
// be told before anything is proposed. It is apart from package judge because it reads a work tree, in which nothing is
// admitted or judged.
//
// It may import judge (which files are control files, and how a finding reads), plan, hold, signoff, policy, connectors and
// schemas.
package validate
