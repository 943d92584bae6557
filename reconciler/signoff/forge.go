package signoff

import "github.com/countersign/countersign/reconciler/forge"

// What a forge offers is declared in package forge; these are its names where sign-offs are judged.
type (
	// Forge tells who made a change and who approved it.
	Forge = forge.Evidence
	// Teams is implemented by a Forge that knows who is in which team.
	Teams = forge.Teams
	// Change is a commit of the branch whose evidence is asked for.
	Change = forge.Change
	// Pending is a change that is not merged yet.
	Pending = forge.Pending
)

var _ forge.People = (*Directory)(nil)
