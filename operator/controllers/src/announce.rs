//! Events: what changed between what was said of a cluster and what is said now.
//! Must not repeat what did not change.

use crds::cluster::{MemberStatus, MySQLClusterStatus, Promotion, PromotionKind};
use crds::conditions::ConditionType;
use kit::conditions;

use crate::paperwork::Notice;
use crate::status::filling;

/// What is bad for a member.
const TROUBLED: &[&str] = &["Failed", "Unreachable", "Diverged", "Lagging"];
/// What is bad for a cluster.
const ALARMING: &[&str] = &[
    "Degraded",
    "AwaitingReplicas",
    "PrimaryUnavailable",
    "FailingOver",
    "Blocked",
];

/// In the order in which somebody would want to read it.
pub(crate) fn between(before: &MySQLClusterStatus, now: &MySQLClusterStatus) -> Vec<Notice> {
    let mut notices = Vec::new();
    notices.extend(state(before, now));
    notices.extend(promotion(Some(before), Some(now)).map(promoted));
    notices.extend(stalled(before, now));
    for member in now.members.iter().flatten() {
        let said = before
            .members
            .iter()
            .flatten()
            .find(|said| said.name == member.name);
        notices.extend(self::member(said, member));
        notices.extend(filling(said, member));
        notices.extend(removed(said, member));
    }
    notices
}

fn message_of(status: &MySQLClusterStatus, type_: ConditionType) -> Option<&str> {
    let list = status.conditions.as_deref()?;
    conditions::get(list, type_.as_str()).map(|condition| condition.message.as_str())
}

fn state(before: &MySQLClusterStatus, now: &MySQLClusterStatus) -> Option<Notice> {
    let (was, is) = (before.state.as_deref(), now.state.as_deref()?);
    if was == Some(is) {
        return None;
    }
    let why = message_of(now, ConditionType::Ready).unwrap_or_default();
    Some(Notice {
        is_warning: ALARMING.contains(&is),
        reason: "StateChanged",
        action: is.to_owned().into(),
        note: match was {
            Some(was) => format!("{was} → {is}: {why}"),
            None => format!("{is}: {why}"),
        },
    })
}

/// The newest, if it was not told before.
pub(crate) fn promotion<'a>(
    before: Option<&MySQLClusterStatus>,
    now: Option<&'a MySQLClusterStatus>,
) -> Option<&'a Promotion> {
    let newest = now?.promotions.as_ref()?.first()?;
    let told = before.and_then(|before| before.promotions.as_ref()?.first());
    told.is_none_or(|told| told.epoch < newest.epoch)
        .then_some(newest)
}

fn promoted(promotion: &Promotion) -> Notice {
    let (to, epoch, reason) = (&promotion.to, promotion.epoch, &promotion.reason);
    let from = promotion.from.as_deref().unwrap_or("nobody");
    let took_ms = promotion.duration_ms;
    Notice {
        is_warning: promotion.kind == PromotionKind::Failover,
        reason: match promotion.kind {
            PromotionKind::Bootstrap => "Bootstrapped",
            PromotionKind::Switchover => "SwitchedOver",
            PromotionKind::Failover => "FailedOver",
        },
        action: format!("Promote {to} in epoch {epoch}").into(),
        note: match promotion.kind {
            PromotionKind::Bootstrap => format!("{to} takes writes, in epoch {epoch}"),
            PromotionKind::Switchover | PromotionKind::Failover => format!(
                "{to} takes writes after {from}, in epoch {epoch}: {reason}; nobody took writes for {took_ms} ms"
            ),
        },
    }
}

fn stalled(before: &MySQLClusterStatus, now: &MySQLClusterStatus) -> Option<Notice> {
    let of = |status: &MySQLClusterStatus| {
        let list = status.conditions.as_deref()?;
        let condition = conditions::get(list, ConditionType::Stalled.as_str())?;
        Some((condition.reason.clone(), condition.message.clone()))
    };
    let (was, is) = (of(before), of(now)?);
    if was.as_ref() == Some(&is) {
        return None;
    }
    let reasons = ConditionType::Stalled.reasons();
    let reason = reasons.iter().find(|reason| reason.as_str() == is.0)?;
    Some(Notice {
        is_warning: true,
        reason: reason.as_str(),
        action: "Refuse".into(),
        note: is.1,
    })
}

fn member(before: Option<&MemberStatus>, now: &MemberStatus) -> Option<Notice> {
    let was = before.map(|said| said.state.as_str());
    if was == Some(&now.state) {
        return None;
    }
    let is_bad = TROUBLED.contains(&now.state.as_str());
    let was_bad = was.is_some_and(|was| TROUBLED.contains(&was));
    let because = now
        .because
        .as_deref()
        .map(|because| format!(": {because}"))
        .unwrap_or_default();
    let (reason, note) = match (is_bad, was_bad) {
        (true, _) => (
            "MemberTroubled",
            format!("{} is {}{because}", now.name, now.state),
        ),
        (false, true) => (
            "MemberRecovering",
            format!("{} is {}{because}", now.name, now.state),
        ),
        (false, false) => return None,
    };
    Some(Notice {
        is_warning: is_bad,
        reason,
        action: format!("Observe {}", now.name).into(),
        note,
    })
}

fn filling(before: Option<&MemberStatus>, now: &MemberStatus) -> Option<Notice> {
    let says = |said: &MemberStatus| {
        let because = said.because.as_deref();
        because.is_some_and(|because| because.contains(filling::WORDS))
    };
    (says(now) && !before.is_some_and(says)).then(|| Notice {
        is_warning: true,
        reason: "VolumeFilling",
        action: format!("Observe {}", now.name).into(),
        note: format!("{}: {}", now.name, filling::WORDS),
    })
}

/// Told once: its volume says it again with every report.
fn removed(before: Option<&MemberStatus>, now: &MemberStatus) -> Option<Notice> {
    let is = now.removed.as_ref()?;
    let was = before.and_then(|said| said.removed.as_ref());
    (was != Some(is)).then(|| Notice {
        is_warning: true,
        reason: "TransactionsRemoved",
        action: format!("Remove from {}", now.name).into(),
        note: format!("{}: {is}", now.name),
    })
}

#[cfg(test)]
mod tests {
    use crds::cluster::MemberRole;

    use super::*;

    fn status(state: &str, member: &str) -> MySQLClusterStatus {
        MySQLClusterStatus {
            state: Some(state.into()),
            members: Some(vec![MemberStatus {
                name: "orders-1".into(),
                role: MemberRole::Replica,
                epoch: 1,
                state: member.into(),
                node: None,
                because: None,
                removed: None,
            }]),
            ..MySQLClusterStatus::default()
        }
    }

    fn reasons(before: &MySQLClusterStatus, now: &MySQLClusterStatus) -> Vec<(&'static str, bool)> {
        let notices = between(before, now);
        notices
            .iter()
            .map(|notice| (notice.reason, notice.is_warning))
            .collect()
    }

    #[test]
    fn changes_are_told_and_nothing_else() {
        let (fine, bad) = (status("Healthy", "Serving"), status("Degraded", "Unreachable"));
        assert!(between(&fine, &fine).is_empty());
        assert_eq!(
            reasons(&fine, &bad),
            [("StateChanged", true), ("MemberTroubled", true)]
        );
        assert_eq!(
            reasons(&bad, &fine),
            [("StateChanged", false), ("MemberRecovering", false)]
        );
        let mut filling = fine.clone();
        filling.members.as_mut().unwrap()[0].because = Some(filling::WORDS.into());
        assert_eq!(reasons(&fine, &filling), [("VolumeFilling", true)]);
        assert!(between(&filling, &filling).is_empty());
        let mut removed = status("Healthy", "Serving");
        for member in removed.members.iter_mut().flatten() {
            member.removed = Some("1 transaction was removed".into());
        }
        assert_eq!(reasons(&fine, &removed), [("TransactionsRemoved", true)]);
        assert!(between(&removed, &removed).is_empty());
        // On its way up nothing is wrong.
        let starting = status("Creating", "Starting");
        assert_eq!(reasons(&starting, &fine), [("StateChanged", false)]);
    }
}
