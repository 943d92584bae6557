// Modules that are read by tests, and built into nothing: descriptions that vendors publish of their APIs.
module github.com/countersign/countersign

go 1.26.0

require github.com/okta/okta-sdk-golang/v5 v5.0.2 // .generator has Okta's description of its management API
