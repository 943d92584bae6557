// Package layout turns documents of sections, tables and lists into text for a terminal and Markdown for GitHub. It
// knows nothing of access: package report makes the documents, and both forms have the same words.
//
// Every sentence is built by Say, whose format is a constant and whose arguments are foreign unless they are typed
// otherwise. A foreign text is escaped by the one writer of its form, and can't move a cursor, end a table row, mention
// a person or begin a heading.
//
// layout imports no other package of countersign.
package layout
