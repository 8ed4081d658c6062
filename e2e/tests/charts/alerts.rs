//! Alerts and metrics, as promtool, the chart and the pages for people know them.
//! Must not need a Prometheus that runs: rules are tried on series that are written out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use e2e::figures::{SNAPSHOTS, exposition, figures, plain};
use ground::shell::{Cmd, cmd};
use ground::tools;
use regex::Regex;
use serde_json::{Value, json};

use crate::objects::of_kind;
use crate::{read, rendered, root};

const RULES: &str = "charts/holdfast/rules/alerts.yaml";
const TRIALS: &str = "e2e/tests/charts/alerts.yaml";
const RUNBOOKS: &str = "docs/runbooks.md";

fn promtool(args: &[&str]) -> Cmd {
    // Once: tests run at the same time, and would unpack it into each other.
    static PROMTOOL: OnceLock<PathBuf> = OnceLock::new();
    let program = PROMTOOL.get_or_init(|| tools::promtool().unwrap());
    cmd(program, args).dir(&root())
}

fn rules() -> Value {
    serde_yaml::from_str(&read(RULES)).unwrap()
}

fn alerts() -> Vec<Value> {
    let groups = rules()["groups"].as_array().unwrap().clone();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone());
    rules.collect()
}

fn name(alert: &Value) -> String {
    alert["alert"].as_str().unwrap().to_owned()
}

/// A folder of its own, gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(what: &str) -> Self {
        let path = std::env::temp_dir().join(format!("holdfast-{what}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The trials in which an alert fires, or those in which it does not, with other rules than those of the repository.
fn trials_of(alert: &str, fires: bool, rules: &Value, folder: &Path) -> Cmd {
    let file = folder.join("rules.yaml");
    fs::write(&file, rules.to_string()).unwrap();
    let mut trials: Value = serde_yaml::from_str(&read(TRIALS)).unwrap();
    trials["rule_files"] = json!([file]);
    let of_it = format!("{alert}: ");
    let tests = trials["tests"].as_array_mut().unwrap();
    tests.retain(|trial| {
        let samples = &trial["promql_expr_test"][0]["exp_samples"];
        let is_of_it = trial["name"].as_str().unwrap().starts_with(&of_it);
        is_of_it && samples.as_array().unwrap().is_empty() != fires
    });
    assert!(!tests.is_empty(), "{alert} is not tried both ways");
    let path = folder.join("trials.yaml");
    fs::write(&path, trials.to_string()).unwrap();
    promtool(&["test", "rules", &path.to_string_lossy()])
}

#[test]
fn rules_are_as_prometheus_wants_them() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", RULES])
        .run()
        .unwrap();
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() {
    promtool(&["test", "rules", TRIALS]).run().unwrap();
}

/// What never fires and what always does must both be found, alert by alert.
#[test]
fn every_alert_is_tried_both_ways() {
    let folder = Folder::new("alerts");
    for at in 0..alerts().len() {
        let name = name(&alerts()[at]);
        for (fires, expr) in [(true, "vector(1) == 2"), (false, "vector(1)")] {
            trials_of(&name, fires, &rules(), &folder.0).run().unwrap();
            let mut wrong = rules();
            let alert = &mut wrong["groups"][0]["rules"][at];
            alert["expr"] = expr.into();
            alert.as_object_mut().unwrap().remove("for");
            let is_found = !trials_of(&name, fires, &wrong, &folder.0).ok();
            assert!(is_found, "{name} with {expr} passes");
        }
    }
}

#[test]
fn every_alert_says_what_it_is_and_where_to_read_on() {
    let headings: BTreeSet<String> = read(RUNBOOKS)
        .lines()
        .filter_map(|line| {
            line.strip_prefix("## Holdfast")
                .map(|rest| format!("Holdfast{rest}"))
        })
        .collect();
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = name(&alert);
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}");
        for text in ["summary", "description"] {
            let text = alert["annotations"][text].as_str().unwrap();
            assert!(text.len() > 10, "{name}");
        }
        let wanted = format!("{RUNBOOKS}#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook_url"], wanted, "{name}");
        assert!(names.insert(name), "twice");
    }
    assert_eq!(names, headings);
}

/// What every section of the runbooks answers.
#[test]
fn every_runbook_says_what_to_see_to_do_and_to_verify() {
    let text = read(RUNBOOKS);
    for section in text
        .split("\n## ")
        .filter(|section| section.starts_with("Holdfast"))
    {
        for part in ["**Meaning.**", "**See.**", "**Do.**", "**Verify.**"] {
            assert_eq!(section.matches(part).count(), 1, "{part} in {section}");
        }
    }
}

#[test]
fn rules_ask_for_what_is_registered() {
    let known: BTreeSet<String> = SNAPSHOTS
        .iter()
        .flat_map(|(_, snapshot)| figures(&exposition(&root(), snapshot).unwrap()).unwrap())
        .map(|figure| figure.name)
        .collect();
    assert!(known.len() > 40, "{known:?}");
    let named = Regex::new("holdfast_[a-z_]+").unwrap();
    let mut asked = 0;
    for alert in alerts() {
        for found in named.find_iter(alert["expr"].as_str().unwrap()) {
            assert!(known.contains(found.as_str()), "{}", found.as_str());
            asked += 1;
        }
    }
    assert!(asked >= alerts().len());
}

#[test]
fn metrics_are_named_as_prometheus_wants_them() {
    for (whose, snapshot) in SNAPSHOTS {
        let text = plain(&exposition(&root(), snapshot).unwrap());
        let said = promtool(&["check", "metrics"]).input(&text);
        assert!(said.is_ok(), "{whose}: {said:?}");
    }
    let wrong = "# HELP holdfast_steps Steps.\n# TYPE holdfast_steps counter\nholdfast_steps 1\n";
    assert!(promtool(&["check", "metrics"]).input(wrong).is_err());
}

#[test]
fn the_chart_makes_the_same_rules_and_only_when_asked() {
    let is_monitoring = |object: &Value| object["apiVersion"] == "monitoring.coreos.com/v1";
    assert!(!rendered(&[]).iter().any(is_monitoring));
    let asked = [
        "--set",
        "monitoring.rules.enabled=true",
        "--set",
        "monitoring.labels.a=b",
    ];
    let objects = rendered(&asked);
    let rule = of_kind(&objects, "PrometheusRule");
    assert_eq!(rule["spec"], rules());
    assert_eq!(rule["metadata"]["labels"]["a"], "b");
    let elsewhere = [
        "--set",
        "monitoring.rules.enabled=true",
        "--set",
        "monitoring.rules.runbooks=https://git.example.com/runbooks.md",
    ];
    let objects = rendered(&elsewhere);
    let groups = &of_kind(&objects, "PrometheusRule")["spec"]["groups"];
    for rule in groups[0]["rules"].as_array().unwrap() {
        let url = rule["annotations"]["runbook_url"].as_str().unwrap();
        assert!(
            url.starts_with("https://git.example.com/runbooks.md#holdfast"),
            "{url}"
        );
    }
}

#[test]
fn monitors_scrape_the_ports_that_pods_have() {
    let objects = rendered(&["--set", "monitoring.podMonitor.enabled=true"]);
    let monitors: Vec<_> = objects
        .iter()
        .filter(|object| object["kind"] == "PodMonitor")
        .collect();
    assert_eq!(monitors.len(), 2);
    let pod = &of_kind(&objects, "Deployment")["spec"]["template"];
    let ports = &pod["spec"]["containers"][0]["ports"];
    assert_eq!(
        monitors[0]["spec"]["podMetricsEndpoints"][0]["port"],
        ports[0]["name"]
    );
    let selector = &monitors[0]["spec"]["selector"]["matchLabels"];
    assert_eq!(
        crate::objects::missing(selector, &pod["metadata"]["labels"]),
        [""; 0]
    );
    assert_eq!(monitors[1]["spec"]["namespaceSelector"]["any"], true);
    let some = [
        "--set",
        "monitoring.podMonitor.enabled=true",
        "--set",
        "watchNamespaces={shop}",
    ];
    let objects = rendered(&some);
    let members = objects
        .iter()
        .rfind(|object| object["kind"] == "PodMonitor")
        .unwrap();
    assert_eq!(
        members["spec"]["namespaceSelector"],
        json!({ "matchNames": ["shop"] })
    );
}
