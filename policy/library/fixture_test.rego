package countersign.library

# A change that nothing is wrong with, which tests vary.
request := {
	"kind": "ConnectionAssignment",
	"metadata": {"name": "sales-access", "reason": "Quarterly revenue dashboards"},
	"application": "warehouse",
	"connection": {"type": "role", "source_name": "sales_reader"},
	"grants": [{"type": "user", "source_name": "alice"}],
}

document := {
	"action": "added", "path": "requests/a.yaml", "index": 0, "line": 3, "kind": "ConnectionAssignment",
	"metadata": request.metadata, "request": request, "merged": false, "operations": 1,
}

alice := {"type": "user", "source_name": "alice"}

operation := {
	"kind": "grant", "application": "warehouse", "connection": {"type": "role", "source_name": "sales_reader"},
	"target": alice, "privilege": "MEMBER", "privileged": false, "path": "requests/a.yaml", "index": 0, "line": 9,
	"field": "spec.grants[0]", "members": 0,
	"gained": [{"application": "warehouse", "identity": alice, "target": {"type": "role", "source_name": "sales_reader"}, "privilege": "MEMBER"}],
}

application := {
	"name": "warehouse", "connector": "postgres", "owners": ["team:data"], "scope": {}, "grantable": {},
	"privileged": {}, "provisioning": "direct", "mode": "full", "unmanaged": "report", "drift_mode": "report",
}

base := {
	"apiVersion": "countersign.dev/v1", "phase": "merge", "change": [document], "control_files": [], "plan": [operation], "affected": 1,
	"applications": {"warehouse": application}, "holdings": {"alice": ["warehouse/role/sales_reader"]},
	"identities": {"warehouse/user/alice": "alice"},
	"pull_request": {"number": 1, "title": "", "contributors": ["dave@acme.test"], "beneficiaries": ["alice@acme.test"], "base": "", "head": ""},
	"signoffs": [], "settings": {"owners": ["user:carol@acme.test"], "tickets": ""}, "now": "2026-11-23T09:00:00Z",
}

settings_document := {
	"action": "modified", "path": "countersign.yaml", "index": 0, "line": 1, "kind": "Settings",
	"metadata": {"name": ""}, "merged": true, "operations": 0,
}

application_document(merged) := {
	"action": "added", "path": "applications/warehouse.yaml", "index": 0, "line": 1, "kind": "Application",
	"metadata": {"name": "warehouse"}, "application": application, "merged": merged, "operations": 0,
}

# What base is with one document, or with one operation, instead of its own.
with_document(fields) := object.union(base, {"change": [object.union(document, fields)]})

with_operation(fields) := object.union(base, {"plan": [object.union(operation, fields)]})

with_entry(fields) := with_document({"request": {"grants": [object.union({"type": "user", "source_name": "alice"}, fields)]}})

codes(results) := {r.code | some r in results}

of(results, code) := [r | some r in results; r.code == code]

test_nothing_wrong if {
	d := decision with input as base
	d.deny == set()
	d.warn == set()
	codes(d.require_signoff) == {"CS-102"}
	d.manifest == manifest
}

test_every_result_has_its_fields if {
	denied := deny with input as object.union(base, {"change": [], "plan": [], "applications": {}})
	count(denied) == 1
	every r in denied {
		object.keys(r) == {"code", "msg", "path", "line", "field", "fix"}
	}
}
