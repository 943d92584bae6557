package countersign.library

test_160_missing_denies if {
	v := json.remove(base, ["change/0/metadata/reason"])
	[r] := of(deny, "CS-160") with input as v
	r.field == "metadata.reason"
}

test_160_short_denies if {
	codes(deny) == {"CS-160"} with input as with_document({"metadata": {"reason": "   because    "}})
}

test_160_length_is_data if {
	v := with_document({"metadata": {"reason": "because"}})
	count(deny) == 0 with input as v with data.reason.min_length as 7
	codes(deny) == {"CS-160"} with input as v with data.reason.min_length as 8
}

test_160_without_data_denies if {
	codes(deny) == {"CS-160"} with input as base with data.reason as {}
}

test_160_undo_needs_none if {
	count(deny) == 0 with input as with_document({"action": "deleted", "merged": true, "metadata": {"reason": ""}})
}

test_160_documents_that_control_a_run_need_one if {
	c := object.union(json.remove(document, ["request"]), {"kind": "Acknowledgement", "metadata": {"name": "ack", "reason": ""}})
	codes(deny) == {"CS-160"} with input as object.union(base, {"change": [c]})
}

test_160_configuration_needs_none if {
	every c in [settings_document, application_document(true), object.union(settings_document, {"kind": "People", "path": "people.yaml"})] {
		count(deny) == 0 with input as object.union(base, {"change": [c], "plan": []})
	}
}

ticketed(fields) := object.union(with_document({"metadata": fields}), {"settings": {"tickets": "DATA-[0-9]+|OPS-1"}})

test_161_not_asked_for if {
	count(deny) == 0 with input as with_document({"metadata": {"ticket": "anything"}})
}

test_161_missing_denies if {
	[r] := of(deny, "CS-161") with input as ticketed({})
	contains(r.msg, "needs a ticket")
}

test_161_another_form_denies if {
	codes(deny) == {"CS-161"} with input as ticketed({"ticket": "x DATA-12"})
	codes(deny) == {"CS-161"} with input as ticketed({"ticket": "OPS-12"})
}

test_161_the_form_is_allowed if {
	count(deny) == 0 with input as ticketed({"ticket": "DATA-12"})
}
