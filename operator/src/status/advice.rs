//! What to type next, by what the object says: each line can be pasted into a shell.
//! Must not advise what destroys data, nor anything where waiting is right.

use crds::cluster::MemberStatus;
use crds::conditions::{ConditionType, Reason};
use serde::Serialize;

use super::view::Subject;

/// Nine members may all be ill; more helps nobody.
const ADVICE_LIMIT: usize = 10;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Advice {
    pub what: String,
    pub command: String,
}

fn advice(what: impl Into<String>, command: impl Into<String>) -> Advice {
    let (what, command) = (what.into(), command.into());
    Advice { what, command }
}

pub(super) fn of(subject: Subject<'_>) -> Vec<Advice> {
    if !subject.is_observed() {
        return vec![operator(subject)];
    }
    let mut all = Vec::new();
    if !subject.is_current() {
        all.push(operator(subject));
    }
    let stalled = subject.condition(ConditionType::Stalled);
    let stalled = stalled.filter(|condition| condition.status == "True");
    let reason = stalled.and_then(|condition| {
        let mut reasons = ConditionType::Stalled.reasons().iter();
        reasons.find(|reason| reason.as_str() == condition.reason)
    });
    all.extend(stalled.map(|_| of_stall(subject, reason.copied())));
    let available = subject.condition(ConditionType::PrimaryAvailable);
    if available.is_some_and(|condition| condition.reason == Reason::CoolingDown.as_str()) {
        all.push(advice(
            "let another take over at once, by a Switchover with force; otherwise it begins after the pause",
            approve(subject),
        ));
    }
    if subject.is(ConditionType::Suspended) {
        all.push(advice(
            "let the operator go on, when the work by hand is done",
            patch(subject, r#"{"spec":{"suspend":false}}"#),
        ));
    }
    all.extend(
        subject
            .members()
            .iter()
            .flat_map(|member| of_member(subject, member)),
    );
    if !subject.is(ConditionType::Ready) {
        all.push(advice("what the operator did, and when", events(subject)));
    }
    let is_moving = subject.is(ConditionType::Reconciling) && stalled.is_none();
    if is_moving {
        all.push(advice(
            "wait: the operator is at work; this prints what changes",
            watch(subject),
        ));
    }
    all.truncate(ADVICE_LIMIT);
    all
}

fn operator(subject: Subject<'_>) -> Advice {
    advice(
        format!(
            "see whether an operator runs, in the namespace that it was installed into, and looks after the \
             namespace {}",
            subject.namespace()
        ),
        "kubectl --namespace holdfast-system get pods,leases",
    )
}

fn of_stall(subject: Subject<'_>, reason: Option<Reason>) -> Advice {
    match reason {
        Some(Reason::VolumeFull) => advice(
            format!(
                "raise storage.size, which is {}: put what you need in place of MORE",
                subject.object.spec.storage.size
            ),
            patch(subject, r#"{"spec":{"storage":{"size":"MORE"}}}"#),
        ),
        Some(Reason::VolumeFails) => advice(
            "look at the storage of the member that Stalled names: its volume, its node, and their events",
            kubectl(
                subject,
                &format!(
                    "describe pods,pvc --selector mysql.holdfast.dev/cluster={}",
                    subject.name()
                ),
            ),
        ),
        Some(Reason::AwaitingApproval) => advice(
            "let another take over, by a Switchover with force; add dryRun to see first what would be done",
            approve(subject),
        ),
        Some(Reason::SpecRefused | Reason::ImageUnfit) => advice(
            "change what the message of Stalled names: here, if it is the spec that asks for too much",
            kubectl(subject, &format!("edit mysqlcluster {}", subject.name())),
        ),
        Some(Reason::ResizeRefused) => advice(
            "see what the volumes say, and whether their class allows them to grow",
            kubectl(
                subject,
                &format!(
                    "describe pvc --selector mysql.holdfast.dev/cluster={}",
                    subject.name()
                ),
            ),
        ),
        Some(Reason::QuorumLost) => advice(
            "bring a missing member back, and delete no volume: see which there are",
            kubectl(
                subject,
                &format!(
                    "get pods,pvc --output wide --selector mysql.holdfast.dev/cluster={}",
                    subject.name()
                ),
            ),
        ),
        // Also of what later versions say.
        _ => advice(
            "see what is decided and why, and delete no volume",
            decide(subject),
        ),
    }
}

fn of_member(subject: Subject<'_>, member: &MemberStatus) -> Option<Advice> {
    let name = &member.name;
    let node = member.node.as_deref();
    Some(match (member.state.as_str(), node) {
        ("Pending", _) => advice(
            format!("see why {name} does not run"),
            kubectl(subject, &format!("describe pod/{name} pvc/{name}")),
        ),
        ("Failed", _) => advice(
            format!("see what {name} says"),
            kubectl(subject, &format!("logs {name} --container mysql --tail 100")),
        ),
        ("Unreachable", Some(node)) => advice(
            format!("see whether {name} and its node are there"),
            format!("{} && kubectl describe node {node}", get_pod(subject, name)),
        ),
        ("Unreachable", None) => advice(format!("see whether {name} is there"), get_pod(subject, name)),
        _ => return None,
    })
}

fn get_pod(subject: Subject<'_>, name: &str) -> String {
    kubectl(subject, &format!("get pod {name} --output wide"))
}

fn kubectl(subject: Subject<'_>, rest: &str) -> String {
    format!("kubectl --namespace {} {rest}", subject.namespace())
}

fn patch(subject: Subject<'_>, with: &str) -> String {
    let name = subject.name();
    kubectl(
        subject,
        &format!("patch mysqlcluster {name} --type merge --patch '{with}'"),
    )
}

/// What a failover under the policy Manual waits for, and what ends a pause.
fn approve(subject: Subject<'_>) -> String {
    let name = subject.name();
    let wish = format!(
        r#"{{"apiVersion":"mysql.holdfast.dev/v1alpha1","kind":"Switchover","metadata":{{"generateName":"{name}-"}},"spec":{{"cluster":"{name}","force":true}}}}"#
    );
    format!("echo '{wish}' | {}", kubectl(subject, "create --filename -"))
}

fn events(subject: Subject<'_>) -> String {
    let name = subject.name();
    kubectl(
        subject,
        &format!("get events --field-selector involvedObject.kind=MySQLCluster,involvedObject.name={name}"),
    )
}

fn watch(subject: Subject<'_>) -> String {
    format!(
        "holdfast status {} --namespace {} --watch",
        subject.name(),
        subject.namespace()
    )
}

/// The Pod that leads is the holder of the Lease, up to the underscore.
fn decide(subject: Subject<'_>) -> String {
    format!(
        "pod=$(kubectl --namespace holdfast-system get lease holdfast-controller \
         --output jsonpath='{{.spec.holderIdentity}}') && {{ kubectl --namespace holdfast-system port-forward \
         pod/${{pod%_*}} 8081 & sleep 2; curl --silent http://localhost:8081/clusters/{}/{} \
         | holdfast decide --observed -; kill $!; }}",
        subject.namespace(),
        subject.name()
    )
}
