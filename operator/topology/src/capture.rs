//! One look at a cluster, whole: what was decided from it is decided again from it, anywhere.
//! Must not hold a secret, nor anything that `decide` does not take.

use serde::{Deserialize, Serialize};

use crate::check::{Violation, check};
use crate::decide::decide;
use crate::decision::Decision;
use crate::observed::{Observed, Spec, Timestamp};
use crate::record::Record;

/// The arguments of `decide`, as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capture {
    /// By the wall clock, for people alone: nothing is decided from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<String>,
    /// On the clock that the times in `observed` are of.
    pub now: Timestamp,
    pub spec: Spec,
    pub observed: Observed,
    pub record: Option<Record>,
}

impl Capture {
    pub fn decide(&self) -> Decision {
        decide(&self.spec, &self.observed, self.record.as_ref(), self.now)
    }

    /// What is wrong with the plan of such a decision.
    pub fn check(&self, decision: &Decision) -> Result<(), Vec<Violation>> {
        check(&self.spec, &self.observed, self.record.as_ref(), &decision.plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::ClusterState;
    use crate::observed::{Member, Pod};
    use crate::testing;

    fn capture() -> Capture {
        let mut observed = Observed {
            new_identity: Some("3e11fa47-71ca-11e1-9e33-c80aa9429562".parse().unwrap()),
            ..Observed::default()
        };
        let pod = Pod {
            problem: Some("Unschedulable: no node has room".into()),
            ..Pod::default()
        };
        let member = Member {
            pod: Some(pod),
            ..Member::default()
        };
        observed.members.insert("orders-0".into(), member);
        Capture {
            taken_at: Some("2026-11-21T12:00:00Z".into()),
            now: 90_000,
            spec: Spec {
                parameters: [("max_connections".to_owned(), "500".to_owned())].into(),
                lag_limit_ms: 10_000,
                ..testing::spec()
            },
            observed,
            record: None,
        }
    }

    #[test]
    fn a_capture_survives_being_written_and_read() {
        let capture = capture();
        let text = serde_json::to_string(&capture).unwrap();
        let read: Capture = serde_json::from_str(&text).unwrap();
        assert_eq!(read, capture);
        assert_eq!(read.decide(), capture.decide());
    }

    #[test]
    fn the_time_of_day_may_be_missing_and_the_rest_may_not() {
        let mut capture = capture();
        capture.taken_at = None;
        let mut value = serde_json::to_value(&capture).unwrap();
        assert!(value.get("takenAt").is_none());
        assert_eq!(serde_json::from_value::<Capture>(value.clone()).unwrap(), capture);
        value.as_object_mut().unwrap().remove("observed");
        let error = serde_json::from_value::<Capture>(value).unwrap_err();
        assert!(error.to_string().contains("observed"), "{error}");
    }

    #[test]
    fn it_is_decided_and_checked_as_it_was() {
        let capture = capture();
        let decision = capture.decide();
        assert_eq!(
            decision,
            decide(&capture.spec, &capture.observed, None, capture.now)
        );
        assert_eq!(decision.state, ClusterState::Creating);
        assert_eq!(capture.check(&decision), Ok(()));
        let mut wrong = decision;
        wrong.plan.remove.insert("orders-0".into());
        assert!(capture.check(&wrong).is_err());
    }
}
