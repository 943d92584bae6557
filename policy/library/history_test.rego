package countersign.library

test_130_members_deny if {
	[r] := of(deny, "CS-130") with input as with_operation({"kind": "delete", "members": 2})
	contains(r.msg, "2")
}

test_130_without_members_allows if {
	count(deny) == 0 with input as with_operation({"kind": "delete"})
}

test_130_only_deletions if {
	count(deny) == 0 with input as with_operation({"kind": "update", "members": 2})
}

test_140_edits_deny if {
	[r] := of(deny, "CS-140") with input as with_document({"action": "modified", "merged": true, "before": request})
	r.path == "requests/a.yaml"
}

test_140_undo_is_allowed if {
	v := with_document({"action": "deleted", "merged": true})
	count(deny) == 0 with input as v
	codes(require_signoff) == {"CS-102"} with input as v
}

test_140_edits_of_settings_are_allowed if {
	count(deny) == 0 with input as object.union(base, {"change": [settings_document], "plan": []})
}

test_190_nothing_denies if {
	codes(deny) == {"CS-190"} with input as object.union(base, {"change": [], "plan": []})
}

test_190_policy_is_something if {
	count(deny) == 0 with input as object.union(base, {"change": [], "plan": [], "control_files": ["policy/a.rego"]})
}

test_130_one_member_denies if {
	[r] := of(deny, "CS-130") with input as with_operation({"kind": "delete", "members": 1})
	endswith(r.msg, "still has members: 1")
}
