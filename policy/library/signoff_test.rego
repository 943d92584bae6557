package countersign.library

signed(person) := object.union(base, {"signoffs": [{"person": person, "capacities": ["team:data"], "at": "2026-11-23T08:00:00Z", "authenticated": true}]})

test_101_allows_others if {
	codes(deny) == set() with input as signed("bob@acme.test")
}

test_101_denies_contributors if {
	codes(deny) == {"CS-101"} with input as signed("Dave@ACME.test")
}

test_101_denies_beneficiaries if {
	codes(deny) == {"CS-101"} with input as signed("alice@acme.test")
}

test_102_owners_of_the_application if {
	[r] := of(require_signoff, "CS-102") with input as base
	r.from == ["team:data"]
	r.count == 1
}

test_102_unknown_application_denies if {
	[r] := of(deny, "CS-102") with input as json.remove(base, ["applications/warehouse"])
	r.path == "requests/a.yaml"
	r.line == 3
}

test_102_application_without_owners_denies if {
	v := json.patch(base, [{"op": "replace", "path": "/applications/warehouse/owners", "value": []}])
	codes(deny) == {"CS-102"} with input as v
	count(require_signoff) == 0 with input as v
}

test_102_settings_need_their_owners if {
	v := object.union(base, {"change": [settings_document], "plan": [], "applications": {}})
	[r] := of(require_signoff, "CS-102") with input as json.remove(v, ["applications/warehouse"])
	r.from == ["user:carol@acme.test"]
}

test_102_documents_that_steer_a_run_need_owners_of_the_settings if {
	every kind in ["Admission", "BudgetOverride", "Acknowledgement"] {
		c := object.union(json.remove(document, ["request"]), {"kind": kind})
		counts := [r.count | some r in require_signoff; r.from == ["user:carol@acme.test"]] with input as object.union(base, {"change": [c]})
		counts == [1]
	}
}

test_102_policy_needs_owners_of_the_settings if {
	v := json.remove(object.union(base, {"change": [], "plan": [], "control_files": ["policy/a.rego"]}), ["applications/warehouse"])
	{r.from | some r in require_signoff} == {["user:carol@acme.test"]} with input as v
	count(deny) == 0 with input as v
}

test_102_a_changed_application_needs_both if {
	v := object.union(base, {"change": [application_document(true)], "plan": []})
	{r.from | some r in require_signoff} == {["user:carol@acme.test"], ["team:data"]} with input as v
}

test_102_a_new_application_needs_owners_of_the_settings_alone if {
	v := object.union(base, {"change": [application_document(false)], "plan": []})
	{r.from | some r in require_signoff} == {["user:carol@acme.test"]} with input as v
}

test_103_configuration_alone_is_allowed if {
	codes(deny) == set() with input as object.union(base, {"change": [settings_document, application_document(true)], "control_files": ["policy/a.rego"], "plan": []})
}

test_103_mixed_documents_deny if {
	[r] := of(deny, "CS-103") with input as object.union(base, {"change": [document, settings_document]})
	r.path == "countersign.yaml"
}

test_103_mixed_policy_denies if {
	[r] := of(deny, "CS-103") with input as object.union(base, {"control_files": ["policy/a.rego"]})
	r.path == "policy/a.rego"
}

test_102_counts_one_of_each if {
	every v in [
		object.union(base, {"change": [settings_document], "plan": []}),
		object.union(base, {"change": [], "plan": [], "control_files": ["policy/a.rego"]}),
		base,
	] {
		{r.count | some r in require_signoff} == {1} with input as v
	}
}

test_103_each_kind_of_configuration_denies if {
	every c in [settings_document, application_document(true), object.union(settings_document, {"kind": "People", "path": "people.yaml"})] {
		[r] := of(deny, "CS-103") with input as object.union(base, {"change": [document, c]})
		r.path == c.path
	}
}

test_102_reformatting_takes_one_owner if {
	v := object.union(with_document({"action": "reformatted", "merged": true, "metadata": {"name": "x"}}), {"plan": []})
	codes(deny) == set() with input as v
	[r] := [r | some r in require_signoff] with input as v
	r.from == ["team:data"]
	r.count == 1
}
