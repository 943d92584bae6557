package countersign.lib_test

import data.countersign.lib

place := {"path": "requests/a.yaml", "line": 3}

test_requests if {
	written := {"action": "added", "path": "a", "request": {"application": "warehouse"}}
	paths := [c.path | some c in lib.requests] with input as {"change": [written, {"action": "deleted", "path": "b", "request": {}}, {"action": "added", "path": "c"}]}
	paths == ["a"]
}

test_days_until if {
	lib.days_until("2026-11-25T10:00:00Z") == 2 with input as {"now": "2026-11-23T09:00:00Z"}
	lib.days_until("9999-12-31T00:00:00Z") > 80000 with input as {"now": "2026-11-23T09:00:00Z"}
	lib.days_until("0001-01-01T00:00:00Z") < 0 with input as {"now": "2026-11-23T09:00:00Z"}
}

test_matches_any if {
	lib.matches_any(["sales_*", "base"], "sales_reader")
	lib.matches_any(["sales_*", "base"], "base")
	not lib.matches_any(["sales_*", "base"], "base_reader")
}

test_result if {
	lib.result("A-1", "no", place) == {"code": "A-1", "msg": "no", "path": "requests/a.yaml", "line": 3, "field": ""}
	lib.result("A-1", "no", {}) == {"code": "A-1", "msg": "no", "path": "", "line": 0, "field": ""}
}

test_owners_sign_off if {
	got := lib.owners_sign_off("A-1", "warehouse", 2, "so") with input as {"applications": {"warehouse": {"owners": ["team:data"]}}}
	got == {"code": "A-1", "from": ["team:data"], "count": 2, "why": "so"}
}
