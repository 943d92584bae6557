// What vendors publish about their APIs and the tests read as data; nothing of it is compiled.
module github.com/countersign/countersign

go 1.26.0

require github.com/aws/aws-sdk-go v1.55.8
