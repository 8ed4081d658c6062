//! Affinity as the API server and the scheduler read it, so that a wrong one is told at the cluster.
//! Must not judge whether it can be met: the scheduler says that.

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Unfit, refuse, words};

/// Looks at every rule; each fault names the place it stands in.
pub(super) fn check(affinity: &Affinity, field: &str, faults: &mut Vec<Unfit>) {
    if let Some(node) = &affinity.node_affinity {
        nodes(node, &format!("{field}.nodeAffinity"), faults);
    }
    if let Some(pods) = &affinity.pod_affinity {
        let field = format!("{field}.podAffinity");
        let required = pods.required_during_scheduling_ignored_during_execution.iter();
        required.flatten().for_each(|one| term(one, &field, faults));
        let preferred = pods.preferred_during_scheduling_ignored_during_execution.iter();
        preferred.flatten().for_each(|one| weighted(one, &field, faults));
    }
    if let Some(pods) = &affinity.pod_anti_affinity {
        let field = format!("{field}.podAntiAffinity");
        let required = pods.required_during_scheduling_ignored_during_execution.iter();
        required.flatten().for_each(|one| term(one, &field, faults));
        let preferred = pods.preferred_during_scheduling_ignored_during_execution.iter();
        preferred.flatten().for_each(|one| weighted(one, &field, faults));
    }
}

fn nodes(affinity: &NodeAffinity, field: &str, faults: &mut Vec<Unfit>) {
    if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
        if required.node_selector_terms.is_empty() {
            refuse(faults, field, "nodeSelectorTerms must have at least one term");
        }
        for one in &required.node_selector_terms {
            selector_term(one, field, faults);
        }
    }
    let preferred = &affinity.preferred_during_scheduling_ignored_during_execution;
    for one in preferred.iter().flatten() {
        weight(one.weight, field, faults);
        selector_term(&one.preference, field, faults);
    }
}

fn selector_term(term: &NodeSelectorTerm, field: &str, faults: &mut Vec<Unfit>) {
    for one in term.match_expressions.iter().flatten() {
        if !words::is_qualified_name(&one.key) {
            refuse(
                faults,
                field,
                format!("{} is not the key of a node label", one.key),
            );
        }
        if let Some(what) = unfit_expression(&one.operator, one.values.as_deref(), true) {
            refuse(faults, field, format!("{}: {what}", one.key));
        }
    }
    let is_fit = |one: &NodeSelectorRequirement| {
        let names = one.values.as_deref().unwrap_or_default();
        one.key == "metadata.name"
            && matches!(&*one.operator, "In" | "NotIn")
            && matches!(names, [name] if words::is_dns_subdomain(name))
    };
    if !term.match_fields.iter().flatten().all(is_fit) {
        let what = "matchFields takes metadata.name with In or NotIn and the name of one node";
        refuse(faults, field, what);
    }
}

fn weighted(wanted: &WeightedPodAffinityTerm, field: &str, faults: &mut Vec<Unfit>) {
    weight(wanted.weight, field, faults);
    term(&wanted.pod_affinity_term, field, faults);
}

fn weight(weight: i32, field: &str, faults: &mut Vec<Unfit>) {
    if !(1..=100).contains(&weight) {
        refuse(faults, field, format!("the weight {weight} must be 1 to 100"));
    }
}

fn term(term: &PodAffinityTerm, field: &str, faults: &mut Vec<Unfit>) {
    if !words::is_qualified_name(&term.topology_key) {
        let what = format!("{:?} is not a topologyKey: name a node label", term.topology_key);
        refuse(faults, field, what);
    }
    let selectors = [&term.label_selector, &term.namespace_selector];
    for one in selectors.into_iter().flatten() {
        selector(one, field, faults);
    }
    let namespaces = term.namespaces.iter().flatten();
    for name in namespaces.filter(|name| !words::is_dns_label(name)) {
        refuse(faults, field, format!("{name} cannot be the name of a namespace"));
    }
    let keys = [&term.match_label_keys, &term.mismatch_label_keys];
    let keys: Vec<_> = keys.into_iter().flatten().flatten().collect();
    let are_names = keys.iter().all(|key| words::is_qualified_name(key));
    if !are_names || (!keys.is_empty() && term.label_selector.is_none()) {
        let what = "matchLabelKeys and mismatchLabelKeys take keys of labels, beside a labelSelector";
        refuse(faults, field, what);
    }
}

fn selector(selector: &LabelSelector, field: &str, faults: &mut Vec<Unfit>) {
    for (key, value) in selector.match_labels.iter().flatten() {
        if !words::is_qualified_name(key) || !words::is_label_value(value) {
            refuse(faults, field, format!("{key}: {value} cannot be a label"));
        }
    }
    for one in selector.match_expressions.iter().flatten() {
        if !words::is_qualified_name(&one.key) {
            refuse(faults, field, format!("{} is not the key of a label", one.key));
        }
        if let Some(what) = unfit_expression(&one.operator, one.values.as_deref(), false) {
            refuse(faults, field, format!("{}: {what}", one.key));
        }
    }
}

fn unfit_expression(operator: &str, values: Option<&[String]>, is_of_node: bool) -> Option<String> {
    let values = values.unwrap_or_default();
    let is_sound = match operator {
        "In" | "NotIn" => !values.is_empty(),
        "Exists" | "DoesNotExist" => values.is_empty(),
        "Gt" | "Lt" if is_of_node => matches!(values, [one] if one.parse::<i64>().is_ok()),
        _ => return Some(format!("there is no operator {operator}")),
    };
    if !is_sound {
        let what = "In and NotIn take values, Exists and DoesNotExist none, Gt and Lt one whole number";
        return Some(what.into());
    }
    let wrong = values.iter().find(|value| !words::is_label_value(value));
    wrong.map(|value| format!("{value} cannot be the value of a label"))
}
