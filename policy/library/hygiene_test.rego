package countersign.library

test_180_an_end_in_the_future_is_quiet if {
	count(warn) == 0 with input as with_entry({"expires": "2026-12-01T00:00:00Z"})
}

test_180_an_end_in_the_past if {
	[r] := of(warn, "CS-180") with input as with_entry({"expires": "2026-11-23T09:00:00Z"})
	r.field == "spec.grants[0].expires"
}

test_180_a_start_in_the_past if {
	[r] := of(warn, "CS-180") with input as with_entry({"starts": "2026-11-01T00:00:00Z"})
	r.field == "spec.grants[0].starts"
}

test_180_a_start_in_the_future_is_quiet if {
	count(warn) == 0 with input as with_entry({"starts": "2026-12-01T00:00:00Z"})
}

test_181_no_operation if {
	codes(warn) == {"CS-181"} with input as object.union(base, {"plan": []})
}

test_181_an_operation_of_another_document if {
	codes(warn) == {"CS-181"} with input as with_operation({"index": 1})
}

test_181_a_start_to_come_is_quiet if {
	count(warn) == 0 with input as object.union(with_entry({"starts": "2026-12-01T00:00:00Z"}), {"plan": []})
}

test_181_undo_is_quiet if {
	count(warn) == 0 with input as object.union(with_document({"action": "deleted", "merged": true}), {"plan": []})
}
