package countersign.library

held(n) := {k: ["warehouse/role/sales_reader"] | some i in numbers.range(1, n); k := sprintf("warehouse/user/u%d", [i])}

gaining(n) := object.union(json.remove(base, ["holdings/warehouse~1user~1alice"]), {"holdings": held(n)})

losing(n) := [{"application": "warehouse", "identity": {"type": "user", "source_name": sprintf("l%d", [i])}} | some i in numbers.range(1, n)]

test_170_few_are_quiet if {
	count(warn) == 0 with input as gaining(20)
}

test_170_many_are_pointed_out if {
	codes(warn) == {"CS-170"} with input as gaining(21)
	of(require_signoff, "CS-170") == [] with input as gaining(21)
}

test_170_losses_count if {
	codes(warn) == {"CS-170"} with input as object.union(with_operation({"lost": losing(20)}), {})
}

test_170_gain_and_loss_of_one_count_once if {
	v := with_operation({"lost": [{"application": "warehouse", "identity": alice}]})
	affected == 1 with input as v
}

test_170_very_many_need_two if {
	[r] := of(require_signoff, "CS-170") with input as gaining(101)
	r.count == 2
	of(require_signoff, "CS-170") == [] with input as gaining(100)
}

test_170_bounds_are_data if {
	codes(warn) == {"CS-170"} with input as gaining(3) with data.blast_radius as {"warn": 2, "two": 2}
	count(of(require_signoff, "CS-170")) == 1 with input as gaining(3) with data.blast_radius as {"warn": 2, "two": 2}
}

test_170_without_data_needs_two if {
	count(of(require_signoff, "CS-170")) == 1 with input as base with data.blast_radius as {}
}
