// Modules that tests read as data, and that are built into nothing: what vendors publish of their APIs.
module github.com/countersign/countersign

go 1.26.0

require (
	github.com/aws/aws-sdk-go v1.55.8 // models/apis has the service models
	github.com/okta/okta-sdk-golang/v5 v5.0.2 // .generator has the description of the management API
)
