package countersign_test

import data.countersign

deletion := {"kind": "delete", "path": "requests/x.yaml", "line": 1}

test_weekend_deletion_is_denied if {
	count(countersign.deny) == 1 with input as {"plan": [deletion], "now": "2026-11-22T10:00:00Z"}
}

test_weekday_deletion_is_not if {
	count(countersign.deny) == 0 with input as {"plan": [deletion], "now": "2026-11-23T10:00:00Z"}
}
