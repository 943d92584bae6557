# Nothing is deleted on a weekend, when no one would notice.
package countersign

deny contains {
	"code": "ACME-1",
	"msg": "no deletions on a weekend",
	"path": op.path,
	"line": op.line,
} if {
	some op in input.plan
	op.kind == "delete"
	time.weekday(time.parse_rfc3339_ns(input.now)) in {"Saturday", "Sunday"}
}
