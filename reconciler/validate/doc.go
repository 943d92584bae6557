// Package validate checks the control files of a folder offline, without Git or any application, so that requesters
// see errors before they propose a change. It is separate from package judge because it reads a work tree, where
// nothing is admitted or judged.
//
// It may import judge (which files are control files, and how a finding reads), plan, hold, signoff, policy, connectors and
// schemas.
package validate
