package countersign.library

apart := [{"name": "four eyes", "connections": ["warehouse/role/sales_reader", "warehouse/role/auditor", "warehouse/role/payer"]}]

holding(list) := object.union(base, {"holdings": {"alice": list}})

test_120_without_data_allows if {
	count(deny) == 0 with input as holding(["warehouse/role/sales_reader", "warehouse/role/auditor"])
}

test_120_one_of_the_set_is_allowed if {
	count(deny) == 0 with input as holding(["warehouse/role/sales_reader", "warehouse/role/other"]) with data.separation_of_duties as apart
}

test_120_two_of_the_set_deny if {
	[r] := of(deny, "CS-120") with input as holding(["warehouse/role/sales_reader", "warehouse/role/auditor"]) with data.separation_of_duties as apart
	r.path == "requests/a.yaml"
	r.line == 9
	r.field == "spec.grants[0]"
	contains(r.msg, "warehouse/role/auditor and warehouse/role/sales_reader")
}

test_120_without_an_operation_denies_still if {
	v := object.union(holding(["warehouse/role/sales_reader", "warehouse/role/auditor"]), {"plan": []})
	[r] := of(deny, "CS-120") with input as v with data.separation_of_duties as apart
	r.path == ""
}

test_120_at_most if {
	two := [object.union(apart[0], {"at_most": 2})]
	v := holding(["warehouse/role/sales_reader", "warehouse/role/auditor"])
	count(deny) == 0 with input as v with data.separation_of_duties as two
	w := holding(["warehouse/role/sales_reader", "warehouse/role/auditor", "warehouse/role/payer"])
	codes(deny) == {"CS-120"} with input as w with data.separation_of_duties as two
}

test_120_over_applications if {
	two := [{"name": "pay and approve", "connections": ["warehouse/role/payer", "bank/role/approver"]}]
	[r] := of(deny, "CS-120") with input as holding(["warehouse/role/payer", "bank/role/approver"]) with data.separation_of_duties as two
	startswith(r.msg, "alice would hold")
}

test_120_an_identity_of_no_one if {
	v := object.union(json.remove(base, ["holdings", "identities"]), {
		"holdings": {"warehouse/user/alice": ["warehouse/role/sales_reader", "warehouse/role/auditor"]},
		"identities": {"warehouse/user/alice": ""},
	})
	[r] := of(deny, "CS-120") with input as v with data.separation_of_duties as apart
	r.line == 9
}
