// Package manual is the connector of applications that no program can read or change: people, or a service of their
// own, carry out what was signed off (provisioning ticket or webhook) and say so.
//
// What such an application holds is attested, not read: the reconciler makes its live state from the records of what
// was said to be done, by whom and when. It is never called verified, its drift is unknown, and a lost ledger loses it:
// everything is asked for once more then. So keep the ledger where it is not lost (--ledger-branch).
//
// What there is to be asked for is the configuration's word: types of connections with the schema of their payload,
// and what may be granted to each. Forms, validation, policy and previews work with it as with any other connector.
// There is no credential, and so no least privilege to give.
package manual
