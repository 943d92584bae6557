package forge

import (
	"context"

	"github.com/countersign/countersign/schemas"
)

// LedgerBranch is the branch that the ledger is kept on, unless the operator names another.
const LedgerBranch = "countersign/ledger"

// Examination is what a repository's rules are compared with.
type Examination struct {
	Settings schemas.SettingsSpec
	// LedgerBranch is the branch that the ledger is kept on; "" is LedgerBranch. It is looked at in any case: a run that
	// keeps the ledger there believes what it finds.
	LedgerBranch string
	// File returns a file of the branch; "" where there is none.
	File func(ctx context.Context, path string) (string, error)
}

// Doctor checks a repository's rules at the forge.
type Doctor interface {
	// Examine compares the repository's rules with those that countersign relies on. It changes nothing.
	Examine(context.Context, Examination) ([]schemas.Check, error)
}
