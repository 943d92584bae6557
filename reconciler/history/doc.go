// Package history reads Git: which control files each first-parent commit of the branch changed, in merge
// order, and who made the commits that a merge brought. It never touches a work tree.
//
// Objects are read with go-git and parsed here where a lenient reading could be turned against us: commits
// must have the form that Git itself writes, and trees may not name an entry twice. Trees are compared raw,
// equal hashes skipped, so that a merge costs the folders it touched.
//
// It imports nothing else of countersign.
package history
