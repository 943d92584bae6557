package signoff

import "github.com/countersign/countersign/reconciler/forge"

// Package forge declares the interfaces of a forge; these are aliases for the judgement of sign-offs.
type (
	// Forge provides who made a change and who approved it.
	Forge = forge.Evidence
	// Teams is implemented by a Forge that knows the members of teams.
	Teams = forge.Teams
	// Change is a commit of the branch to collect evidence for.
	Change = forge.Change
	// Pending is a change that is not merged yet.
	Pending = forge.Pending
	// People knows names and accounts, Clone reads the content of commits, and Landing is several of them.
	People  = forge.People
	Clone   = forge.Clone
	Landing = forge.Landing
)

var _ forge.People = (*Directory)(nil)
