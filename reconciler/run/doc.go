// Package run takes applications from their live to their desired state, one pass over each: fold, read, diff, hold,
// carry out, read back, record.
//
// Operations are carried out by the application's connector (write.go), or by somebody outside who is asked by webhook
// or ticket (fulfilment*.go); either way the effect is verified by reading the application (verify.go). A preview reads
// and plans in the same way, and writes nothing (preview.go).
//
// A pass starts from a Base that is handed in: run does not know how it was judged. It may import index (types only),
// plan, graph, hold, ledger, run/fulfilment, connectors and schemas. It knows nothing of Git, of policy or of a forge's
// API.
//
// It has slightly more than 2,500 lines: each step of a pass, fulfilment included, works on one value, the application
// under way; what can be decided without it is in hold and run/fulfilment.
package run
