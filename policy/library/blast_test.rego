package countersign.library

reaching(n) := object.union(base, {"affected": n})

test_170_few_are_quiet if {
	count(warn) == 0 with input as reaching(20)
}

test_170_many_are_pointed_out if {
	codes(warn) == {"CS-170"} with input as reaching(21)
	of(require_signoff, "CS-170") == [] with input as reaching(21)
}

test_170_nobody_counted if {
	codes(warn) == {"CS-170"} with input as json.remove(base, ["affected"])
	count(of(require_signoff, "CS-170")) == 1 with input as json.remove(base, ["affected"])
}

test_170_very_many_need_two if {
	[r] := of(require_signoff, "CS-170") with input as reaching(101)
	r.count == 2
	of(require_signoff, "CS-170") == [] with input as reaching(100)
}

test_170_bounds_are_data if {
	codes(warn) == {"CS-170"} with input as reaching(3) with data.blast_radius as {"warn": 2, "two": 2}
	count(of(require_signoff, "CS-170")) == 1 with input as reaching(3) with data.blast_radius as {"warn": 2, "two": 2}
}

test_170_without_data_needs_two if {
	count(of(require_signoff, "CS-170")) == 1 with input as base with data.blast_radius as {}
}

test_170_asks_the_owners_of_each_application if {
	two := {"warehouse": application, "crm": object.union(application, {"name": "crm", "owners": ["user:erin"]})}
	asked := {r.from | some r in of(require_signoff, "CS-170")} with input as object.union(reaching(101), {"applications": two})
	asked == {["team:data"], ["user:erin"]}
}

test_170_asks_no_one_where_no_one_owns if {
	v := object.union(reaching(101), {"applications": {"warehouse": object.union(application, {"owners": []})}})
	of(require_signoff, "CS-170") == [] with input as v
}
