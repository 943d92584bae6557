package countersign.library

test_110_ordinary_operations_need_one if {
	of(require_signoff, "CS-110") == [] with input as base
}

test_110_two_owners if {
	[r] := of(require_signoff, "CS-110") with input as with_operation({"privileged": true, "expires": "2027-01-01T00:00:00Z"})
	r.count == 2
	r.from == ["team:data"]
}

test_110_a_revoke_does_not_wait if {
	v := with_operation({"privileged": true, "kind": "revoke"})
	of(require_signoff, "CS-110") == [] with input as v
	count(deny) == 0 with input as v
}

test_110_a_creation_needs_two_and_no_end if {
	v := with_operation({"privileged": true, "kind": "create"})
	count(of(require_signoff, "CS-110")) == 1 with input as v
	count(deny) == 0 with input as v
}

test_110_no_end_denies if {
	[r] := of(deny, "CS-110") with input as with_operation({"privileged": true})
	r.line == 9
	r.field == "spec.grants[0]"
	not contains(r.msg, "(")
}

test_110_says_why if {
	[r] := of(deny, "CS-110") with input as with_operation({"privileged": true, "privileged_why": "superuser"})
	contains(r.msg, "(superuser)")
}

test_110_a_near_end_is_allowed if {
	count(deny) == 0 with input as with_operation({"privileged": true, "expires": "2027-02-21T09:00:00Z"})
}

test_110_a_far_end_denies if {
	codes(deny) == {"CS-110"} with input as with_operation({"privileged": true, "expires": "2027-02-21T09:00:01Z"})
}

test_110_the_end_of_time_denies if {
	codes(deny) == {"CS-110"} with input as with_operation({"privileged": true, "expires": "9999-12-31T00:00:00Z"})
}

test_110_the_beginning_of_time_is_no_far_end if {
	count(deny) == 0 with input as with_operation({"privileged": true, "expires": "0001-01-01T00:00:00Z"})
}

test_110_days_are_data if {
	v := with_operation({"privileged": true, "expires": "2026-11-26T09:00:00Z"})
	codes(deny) == {"CS-110"} with input as v with data.privileged.max_days as 2
	count(deny) == 0 with input as v with data.privileged.max_days as 3
}

test_110_without_data_denies if {
	codes(deny) == {"CS-110"} with input as with_operation({"privileged": true, "expires": "2026-11-26T09:00:00Z"}) with data.privileged as {}
}

test_110_what_is_left_out_denies_still if {
	v := object.union(base, {"plan": [object.union(json.remove(operation, ["target", "privilege", "path", "field"]), {"privileged": true})]})
	codes(deny) == {"CS-110"} with input as v
	w := json.patch(v, [{"op": "add", "path": "/plan/0/expires", "value": "2029-01-01T00:00:00Z"}])
	codes(deny) == {"CS-110"} with input as w
}
