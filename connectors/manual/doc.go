// Package manual is the connector for applications that no program can read or change. People, or a service of the
// application's owners, carry out approved requests (provisioning ticket or webhook) and confirm them.
//
// Access in such an application is attested, not read: the reconciler derives its live state from the recorded
// confirmations, with person and time. It is never verified, its drift is unknown, and it is lost with the ledger:
// all operations are then requested again. Keep the ledger on a branch (--ledger-branch) to avoid that.
//
// The config lists the types of connections, the schema of their payload, and what each can be granted. Forms,
// validation, policy and previews work as with any other connector. There is no credential.
package manual
