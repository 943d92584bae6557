package countersign.library

window := {"from": "2026-11-20T00:00:00Z", "to": "2026-11-25T00:00:00+01:00", "reason": "year's end"}

test_150_without_data_allows if {
	count(deny) == 0 with input as base
}

test_150_inside_denies if {
	[r] := of(deny, "CS-150") with input as base with data.freeze as [window]
	r.path == "requests/a.yaml"
	contains(r.msg, "year's end")
}

test_150_first_instant_denies if {
	codes(deny) == {"CS-150"} with input as base with data.freeze as [object.union(window, {"from": "2026-11-23T09:00:00Z"})]
}

test_150_last_instant_allows if {
	count(deny) == 0 with input as base with data.freeze as [object.union(window, {"to": "2026-11-23T09:00:00Z"})]
}

test_150_before_allows if {
	count(deny) == 0 with input as base with data.freeze as [object.union(window, {"from": "2026-11-24T00:00:00Z"})]
}

test_150_patterns if {
	codes(deny) == {"CS-150"} with input as base with data.freeze as [object.union(window, {"applications": ["crm", "ware*"]})]
	count(deny) == 0 with input as base with data.freeze as [object.union(window, {"applications": ["crm", "other*"]})]
}

test_150_an_application_that_wakes_nothing_is_allowed if {
	count(deny) == 0 with input as object.union(base, {"change": [application_document(true)], "plan": []}) with data.freeze as [window]
}

test_150_an_application_that_wakes_a_grant_denies if {
	[r] := of(deny, "CS-150") with input as object.union(base, {"change": [application_document(true)]}) with data.freeze as [window]
	r.path == ""
}

test_150_taking_access_away_is_allowed if {
	count(deny) == 0 with input as with_operation({"kind": "revoke", "gained": []}) with data.freeze as [window]
	count(deny) == 0 with input as with_operation({"kind": "delete", "gained": []}) with data.freeze as [window]
	count(deny) == 0 with input as with_operation({"kind": "delete", "application": "crm"}) with data.freeze as [window]
}

test_150_a_removal_by_which_someone_gains_denies if {
	codes(deny) == {"CS-150"} with input as with_operation({"kind": "revoke"}) with data.freeze as [window]
}

test_150_creations_and_updates_deny if {
	codes(deny) == {"CS-150"} with input as with_operation({"kind": "create", "gained": []}) with data.freeze as [window]
	codes(deny) == {"CS-150"} with input as with_operation({"kind": "update", "gained": []}) with data.freeze as [window]
	codes(deny) == {"CS-150"} with input as with_operation({"kind": "grant", "gained": []}) with data.freeze as [window]
}

test_150_an_heir_gains if {
	v := object.union(with_document({"request": {"application": "warehouse", "reassign_to": "boss"}}), {"plan": [object.union(operation, {"kind": "delete", "gained": []})]})
	codes(deny) == {"CS-150"} with input as v with data.freeze as [window]
}

test_150_an_acknowledgement_releases if {
	document := {
		"action": "added", "path": "requests/ack.yaml", "index": 0, "line": 1, "kind": "Acknowledgement",
		"metadata": {"name": "ack", "reason": "The operations held since noon"}, "merged": false, "operations": 0,
	}
	codes(deny) == {"CS-150"} with input as object.union(base, {"change": [document], "plan": []}) with data.freeze as [window]
}

test_150_policy_goes_through if {
	v := json.remove(object.union(base, {"change": [], "plan": [], "control_files": ["policy/data.yaml"]}), ["applications/warehouse"])
	count(deny) == 0 with input as v with data.freeze as [window]
}
