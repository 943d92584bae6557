package cli

// The files of the demo.

const demoPeople = `apiVersion: countersign.dev/v1
kind: People
spec:
  people:
    - {login: alice, emails: [alice@acme.test], identities: {authz: [alice]}}
    - {login: bob, emails: [bob@acme.test], identities: {authz: [bob]}}
    - {login: carol, emails: [carol@acme.test]}
    - {login: dave, emails: [dave@acme.test], identities: {authz: [dave]}}
    - {login: erin, emails: [erin@acme.test], identities: {authz: [erin]}}
    - {login: mallory, emails: [mallory@acme.test], identities: {authz: [mallory]}}
`

const demoApplication = `apiVersion: countersign.dev/v1
kind: Application
metadata: {name: authz}
spec:
  connector: casbin
  config: {policy: authz/policy.csv}
  owners: [user:bob@acme.test]
  scope: {role: ["sales_*"]}
  grantable: {user: ["*"], object: ["sales.*"]}
  unmanaged: revoke
`

const demoCreation = `apiVersion: countersign.dev/v1
kind: ConnectionCreation
metadata:
  name: sales-reader
  reason: Quarterly revenue dashboards read the sales data
  ticket: DATA-412
spec:
  application: authz
  connection: {type: role, source_name: sales_reader}
`

const demoRefused = `apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata:
  name: sales-access
  reason: Dave and Erin build the revenue dashboards
spec:
  application: authz
  connection: {type: role, source_name: sales_reader}
  grants:
    - {type: object, source_name: sales.orders, privileges: [read, admin]}
    - {type: user, source_name: dave}
    - {type: user, source_name: erin}
`

const demoAssignment = `apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata:
  name: sales-access
  reason: Dave and Erin build the revenue dashboards
spec:
  application: authz
  connection: {type: role, source_name: sales_reader}
  grants:
    - {type: object, source_name: sales.orders, privileges: [read]}
    - {type: user, source_name: dave}
    - {type: user, source_name: erin, expires: EXPIRES}
`

const demoPayroll = `apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata:
  name: payroll
  reason: Dave would like to see what everybody earns
spec:
  application: authz
  connection: {type: role, source_name: sales_reader}
  grants:
    - {type: object, source_name: sales.payroll, privileges: [read]}
`

const demoMallory = `apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata:
  name: mine
  reason: Nobody needs to know about this one
spec:
  application: authz
  connection: {type: role, source_name: sales_reader}
  grants:
    - {type: user, source_name: mallory}
`

const demoDeletion = `apiVersion: countersign.dev/v1
kind: ConnectionDeletion
metadata:
  name: retire-sales-reader
  reason: The dashboards moved to another store
spec:
  application: authz
  connection: {type: role, source_name: sales_reader}
`
