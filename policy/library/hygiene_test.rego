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
	codes(warn) == {"CS-181"} with input as with_document({"operations": 0})
}

test_181_nobody_counted if {
	codes(warn) == {"CS-181"} with input as json.remove(base, ["change/0/operations"])
}

test_181_a_start_to_come_is_quiet if {
	grants := [{"type": "user", "source_name": "alice", "starts": "2026-12-01T00:00:00Z"}]
	count(warn) == 0 with input as with_document({"operations": 0, "request": {"grants": grants}})
	codes(warn) == {"CS-181"} with input as with_document({"operations": 0, "request": {"grants": [json.remove(grants[0], ["starts"])]}})
}

test_181_undo_is_quiet if {
	count(warn) == 0 with input as with_document({"action": "deleted", "merged": true, "operations": 0})
}

test_180_the_instant_itself if {
	of(warn, "CS-180") == [] with input as with_entry({"starts": "2026-11-23T09:00:00Z"})
	of(warn, "CS-180") == [] with input as with_entry({"expires": "2026-11-23T09:00:01Z"})
	count(of(warn, "CS-180")) == 1 with input as with_entry({"starts": "2026-11-23T08:59:59Z"})
}

test_181_a_start_at_the_instant_is_no_start_to_come if {
	grants := [{"type": "user", "source_name": "alice", "starts": "2026-11-23T09:00:00Z"}]
	codes(warn) == {"CS-181"} with input as with_document({"operations": 0, "request": {"grants": grants}})
}

test_181_one_operation_is_something if {
	count(warn) == 0 with input as with_document({"operations": 1})
}
