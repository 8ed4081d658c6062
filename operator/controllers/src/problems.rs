//! What keeps a Pod or a volume from doing its work, in words that a person can act on.
//! Must not do IO: it is read from the objects, and from Events that somebody else fetched.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStatus, Event, PersistentVolumeClaim, Pod, PodStatus,
};
use kube::ResourceExt;
use objects::quantity::bytes;

/// A Pod that is being removed should be gone when its time is over; a node that answers needs
/// no more than this beyond it.
const REMOVAL_SLACK: SignedDuration = SignedDuration::from_secs(60);

/// Reasons for which a container waits that are no problem.
const EXPECTED_WAITS: &[&str] = &["ContainerCreating", "PodInitializing"];

/// Events that say why something is stuck; the others repeat what the objects say, or nothing.
const TELLING_EVENTS: &[&str] = &[
    "FailedMount",
    "FailedAttachVolume",
    "FailedMapVolume",
    "FailedCreatePodSandBox",
    "ProvisioningFailed",
    "FailedBinding",
    "VolumeResizeFailed",
    "FileSystemResizeFailed",
    "VolumeMismatch",
];

/// The newest Event that says why.
pub(crate) fn of_events(events: &[Event]) -> Option<String> {
    let telling = events.iter().filter(|event| {
        let reason = event.reason.as_deref();
        reason.is_some_and(|reason| TELLING_EVENTS.contains(&reason))
    });
    let newest = telling.max_by_key(|event| {
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        let series = event
            .series
            .as_ref()
            .and_then(|series| series.last_observed_time.as_ref());
        let seen = series.or(event.event_time.as_ref()).map(|time| time.0);
        last.max(seen)
    })?;
    let reason = newest.reason.as_deref().unwrap_or_default();
    let message = newest.message.as_deref().unwrap_or_default();
    Some(sentence(reason, message))
}

/// Whether it is worth asking for its Events: it should run and does not, and does not say why.
pub(crate) fn is_pod_stuck(pod: &Pod) -> bool {
    let status = pod.status.clone().unwrap_or_default();
    let is_scheduled = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let is_pending = status.phase.as_deref().is_none_or(|phase| phase == "Pending");
    pod.metadata.deletion_timestamp.is_none() && is_scheduled && is_pending
}

pub(crate) fn is_volume_stuck(claim: &PersistentVolumeClaim) -> bool {
    let status = claim.status.clone().unwrap_or_default();
    let is_bound = status.phase.as_deref() == Some("Bound");
    claim.metadata.deletion_timestamp.is_none() && (!is_bound || is_growing(claim))
}

/// It has not the size yet that it was asked to have.
pub(crate) fn is_growing(claim: &PersistentVolumeClaim) -> bool {
    let asked = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"));
    let has = claim
        .status
        .as_ref()
        .and_then(|status| status.capacity.as_ref()?.get("storage"));
    match (asked, has) {
        (Some(asked), Some(has)) => match (bytes(&asked.0), bytes(&has.0)) {
            (Ok(asked), Ok(has)) => asked > has,
            _ => false,
        },
        _ => false,
    }
}

/// What keeps the Pod from running.
pub(crate) fn of_pod(pod: &Pod, now: Timestamp) -> Option<String> {
    if let Some(until) = &pod.metadata.deletion_timestamp {
        return of_removal(pod, now.duration_since(until.0));
    }
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() == Some("Failed") {
        let reason = status.reason.as_deref().unwrap_or("Failed");
        return Some(sentence(reason, status.message.as_deref().unwrap_or_default()));
    }
    of_scheduling(status).or_else(|| {
        let containers = status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses);
        containers.flatten().find_map(of_container)
    })
}

fn of_removal(pod: &Pod, overdue: SignedDuration) -> Option<String> {
    if overdue < REMOVAL_SLACK {
        return None;
    }
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let finalizers = pod.finalizers();
    if !finalizers.is_empty() {
        return Some(format!(
            "is being removed and waits for {}",
            finalizers.join(", ")
        ));
    }
    Some(format!(
        "should be gone by now, and node {} does not confirm it: bring the node back, or if it is switched off \
         for good, delete the Node or give it the taint node.kubernetes.io/out-of-service",
        node.unwrap_or("(none)")
    ))
}

fn of_scheduling(status: &PodStatus) -> Option<String> {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let scheduled = conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled")?;
    if scheduled.status == "True" {
        return None;
    }
    let reason = scheduled.reason.as_deref().unwrap_or("Unschedulable");
    Some(sentence(reason, scheduled.message.as_deref().unwrap_or_default()))
}

fn of_container(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or("Waiting");
        if EXPECTED_WAITS.contains(&reason) {
            return None;
        }
        let message = waiting.message.as_deref().unwrap_or_default();
        let last = container.last_state.as_ref().and_then(ended);
        let text = match (reason, last) {
            ("CrashLoopBackOff", Some(last)) => last,
            ("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull", _)
                if !message.contains(&container.image) =>
            {
                format!("{} {message}", container.image)
            }
            _ => message.to_owned(),
        };
        return Some(sentence(
            &format!("container {}: {reason}", container.name),
            &text,
        ));
    }
    let ended = ended(state)?;
    Some(sentence(&format!("container {}", container.name), &ended))
}

/// How it ended, if it was not well.
fn ended(state: &ContainerState) -> Option<String> {
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    let reason = ended.reason.as_deref().filter(|reason| *reason != "Error");
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let code = ended.exit_code;
    let message = ended
        .message
        .as_deref()
        .map(str::trim)
        .filter(|message| !message.is_empty());
    Some(match message {
        Some(message) => format!("ended with code {code}{reason}: {message}"),
        None => format!("ended with code {code}{reason}"),
    })
}

/// What keeps the volume from being bound or grown.
pub(crate) fn of_volume(claim: &PersistentVolumeClaim) -> Option<String> {
    let status = claim.status.as_ref()?;
    if status.phase.as_deref() == Some("Lost") {
        return Some("its PersistentVolume is gone, and the data on it".to_owned());
    }
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let failed = conditions.iter().find(|condition| {
        let is_failure = matches!(
            condition.type_.as_str(),
            "ControllerResizeError" | "NodeResizeError"
        );
        is_failure && condition.status == "True"
    });
    if let Some(failed) = failed {
        return Some(sentence(
            &failed.type_,
            failed.message.as_deref().unwrap_or_default(),
        ));
    }
    let statuses = status.allocated_resource_statuses.as_ref();
    let infeasible = statuses?.values().find(|status| status.ends_with("Infeasible"))?;
    Some(sentence(infeasible, "the volume cannot be grown to this size"))
}

/// One line; what says nothing is left out.
fn sentence(what: &str, message: &str) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if message.is_empty() {
        return what.to_owned();
    }
    format!("{what}: {message}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-11-21T12:00:00Z";

    fn pod(value: Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    fn problem(value: Value) -> Option<String> {
        of_pod(&pod(value), NOW.parse().unwrap())
    }

    #[test]
    fn the_scheduler_is_quoted() {
        let found = problem(json!({ "status": { "phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient memory.",
        }] } }));
        assert_eq!(
            found.unwrap(),
            "Unschedulable: 0/3 nodes are available: 3 Insufficient memory."
        );
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named() {
        let found = |message: &str| {
            problem(
                json!({ "status": { "phase": "Pending", "initContainerStatuses": [{
                "name": "install", "image": "registry.example.com/mysql:9.7", "imageID": "", "ready": false,
                "restartCount": 0,
                "state": { "waiting": { "reason": "ImagePullBackOff", "message": message } },
            }] } }),
            )
            .unwrap()
        };
        let named = "container install: ImagePullBackOff: registry.example.com/mysql:9.7 not found";
        assert_eq!(found("not found"), named);
        let message = "Back-off pulling image \"registry.example.com/mysql:9.7\"";
        assert_eq!(
            found(message),
            format!("container install: ImagePullBackOff: {message}")
        );
    }

    #[test]
    fn a_container_that_ends_again_and_again_says_how() {
        let found = problem(json!({ "status": { "phase": "Running", "containerStatuses": [{
            "name": "mysql", "image": "mysql", "imageID": "", "ready": false, "restartCount": 4,
            "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 40s" } },
            "lastState": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } },
        }] } }));
        assert_eq!(
            found.unwrap(),
            "container mysql: CrashLoopBackOff: ended with code 137 (OOMKilled)"
        );
    }

    #[test]
    fn what_starts_or_runs_has_no_problem() {
        for state in [
            json!({ "waiting": { "reason": "PodInitializing" } }),
            json!({ "waiting": { "reason": "ContainerCreating" } }),
            json!({ "running": {} }),
            json!({ "terminated": { "exitCode": 0, "reason": "Completed" } }),
        ] {
            let found = problem(json!({ "status": { "phase": "Pending", "containerStatuses": [{
                "name": "mysql", "image": "mysql", "imageID": "", "ready": false, "restartCount": 0,
                "state": state,
            }] } }));
            assert_eq!(found, None, "{state}");
        }
        assert_eq!(problem(json!({})), None);
    }

    #[test]
    fn an_evicted_pod_says_why() {
        let found = problem(json!({ "status": {
            "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.",
        } }));
        assert_eq!(found.unwrap(), "Evicted: The node was low on resource: memory.");
    }

    #[test]
    fn a_removal_that_nobody_confirms_tells_what_to_do() {
        let removed_at = |time: &str| {
            problem(json!({
                "metadata": { "deletionTimestamp": time, "deletionGracePeriodSeconds": 30 },
                "spec": { "nodeName": "node2", "containers": [] },
            }))
        };
        assert_eq!(removed_at("2026-11-21T12:00:30Z"), None);
        assert_eq!(removed_at("2026-11-21T11:59:30Z"), None);
        let found = removed_at("2026-11-21T11:50:00Z").unwrap();
        assert!(
            found.contains("node2") && found.contains("out-of-service"),
            "{found}"
        );
    }

    #[test]
    fn the_newest_telling_event_counts() {
        let event = |reason: &str, time: &str, message: &str| -> Event {
            serde_json::from_value(json!({
                "metadata": {}, "involvedObject": {}, "reason": reason, "message": message,
                "lastTimestamp": time,
            }))
            .unwrap()
        };
        let events = [
            event("FailedMount", "2026-11-21T11:00:00Z", "secret not found"),
            event(
                "FailedAttachVolume",
                "2026-11-21T11:30:00Z",
                "Multi-Attach error\n for volume",
            ),
            event("BackOff", "2026-11-21T11:40:00Z", "again"),
        ];
        let found = of_events(&events).unwrap();
        assert_eq!(found, "FailedAttachVolume: Multi-Attach error for volume");
        assert_eq!(of_events(&events[2..]), None);
    }

    #[test]
    fn volumes_that_are_lost_or_do_not_grow_say_so() {
        let claim = |status: Value| -> PersistentVolumeClaim {
            let resources = json!({ "requests": { "storage": "20Gi" } });
            serde_json::from_value(json!({ "spec": { "resources": resources }, "status": status })).unwrap()
        };
        let lost = claim(json!({ "phase": "Lost" }));
        assert!(of_volume(&lost).unwrap().contains("gone") && is_volume_stuck(&lost));
        let growing = claim(json!({ "phase": "Bound", "capacity": { "storage": "10Gi" } }));
        assert!(is_growing(&growing) && of_volume(&growing).is_none());
        let failed = claim(
            json!({ "phase": "Bound", "capacity": { "storage": "10Gi" }, "conditions": [
            { "type": "NodeResizeError", "status": "True", "message": "no room" },
        ] }),
        );
        assert_eq!(of_volume(&failed).unwrap(), "NodeResizeError: no room");
        let grown = claim(json!({ "phase": "Bound", "capacity": { "storage": "20480Mi" } }));
        assert!(!is_growing(&grown) && !is_volume_stuck(&grown));
    }
}
