// Package report renders what countersign found and did: previews, runs, states of requests, access, errors in
// files. It decides nothing and reads nothing; the same value always renders to the same bytes.
//
// There are three forms. JSON is for programs and stable. Text is for people at a terminal, Markdown for
// people at a pull request; both are laid out from one document of sections, tables and lists, so that
// their words are the same.
//
// Requesters write much of the text in a report, and reviewers trust the report when they sign off. So every sentence
// is built by say, whose format is a constant of this package and whose arguments are foreign unless they are typed
// otherwise: a foreign text is escaped by the one renderer of its form, and cannot move a cursor, end a table row,
// mention a person or begin a heading.
//
// report imports schemas, layout (which writes its documents), redact (which hides identities) and no other package of
// countersign.
//
// It has more than 2,500 lines because it renders each of countersign's outputs: about one file for each, over a few
// shared ones. What they share to lay out text is in layout.
package report
