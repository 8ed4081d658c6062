//! What becomes of a cluster without a record, look by look.
//! Must not need a history: each case is one look.

use super::*;
use crate::record::{ByHand, Leaving};
use crate::testing::{IDENTITY, Look, name, names, uuid};

/// What a look without a record leads to.
trait Birth {
    /// All of it: a record that is to be written leaves no room for the rest.
    fn begun(&self) -> Decision;
    fn has(self, number: u8, executed: &str) -> Self;
    fn was_told(self, number: u8, record: &Record) -> Self;
    fn waits_for(&self, numbers: &[u8]);
    fn is_refused(&self, refusal: Refusal);
    fn is_founded_by(&self, number: u8);
}

impl Birth for Look {
    fn begun(&self) -> Decision {
        decide(&self.spec, &self.seen, 0)
    }

    fn has(mut self, number: u8, executed: &str) -> Self {
        self.server(number).executed = executed.parse().unwrap();
        self
    }

    /// It keeps this with its newest orders.
    fn was_told(mut self, number: u8, record: &Record) -> Self {
        self.record = Some(record.clone());
        self.told(number, Role::Hold);
        self.record = None;
        self
    }

    fn waits_for(&self, numbers: &[u8]) {
        let decision = self.begun();
        assert_eq!(decision.plan.record, None);
        let members = names(numbers);
        assert_eq!(decision.because, [Reason::WaitingFor { members }]);
    }

    fn is_refused(&self, refusal: Refusal) {
        let decision = self.begun();
        assert_eq!(decision.plan.record, None);
        assert_eq!(decision.state, ClusterState::Blocked);
        assert_eq!(decision.refused, [refusal]);
    }

    fn is_founded_by(&self, number: u8) {
        let decision = self.begun();
        assert_eq!(decision.plan.record.unwrap().primary, name(number));
    }
}

/// As a cluster leaves it that has had failovers and is in the middle of one.
fn remembered(epoch: u64, revision: u64) -> Record {
    let voter = |number: u8| Voter {
        incarnation: Some(uuid(number + 1)),
        leaving: (number == 2).then_some(Leaving::Asked),
    };
    Record {
        voters: [0, 1, 2].map(|number| (name(number), voter(number))).into(),
        handing_to: Some(name(2)),
        left_out: names(&[1]),
        cut: Some("00000000-0000-0000-0000-00000000000c:1".parse().unwrap()),
        failovers: 3,
        by_hand: Some(ByHand {
            member: name(1),
            unheard: names(&[0]),
            given_up: Default::default(),
        }),
        acknowledged_by: 1,
        wait_for: 1,
        ..Record::of(IDENTITY.parse().unwrap(), Term::new(epoch, revision), name(1))
    }
}

const DATA: &str = "00000000-0000-0000-0000-00000000000c:1-4";

#[test]
fn the_first_of_the_empty_founds_a_cluster() {
    let look = Look::empty(&[0, 1, 2]);
    let decision = look.begun();
    let record = decision.plan.record.clone().unwrap();
    assert_eq!(record.identity, IDENTITY.parse().unwrap());
    assert_eq!((record.term, record.primary.clone()), (Term::new(0, 1), name(0)));
    let counted = record
        .voters
        .iter()
        .filter(|(_, voter)| voter.incarnation.is_some());
    assert_eq!(
        record.voters.keys().cloned().collect::<BTreeSet<_>>(),
        names(&[0, 1, 2])
    );
    assert_eq!(
        counted.map(|(name, _)| name.clone()).collect::<Vec<_>>(),
        [name(0)]
    );
    assert_eq!(record.voters[&name(0)].incarnation, Some(uuid(1)));
    assert_eq!(decision.state, ClusterState::Creating);
    let is_held = |order: &Assignment| order.role == Role::Hold && order.record.is_none();
    assert_eq!(decision.plan.assign.len(), 3);
    assert!(decision.plan.assign.values().all(is_held));
    // By number, not by letter.
    let mut eleven = Look::empty(&[2, 10]);
    eleven.spec.instances = 11;
    eleven.spec.sync_replicas = 9;
    eleven.is_founded_by(2);
}

#[test]
fn as_many_are_seen_as_no_quorum_could_do_without() {
    Look::empty(&[2]).waits_for(&[0, 1]);
    Look::empty(&[1, 2]).is_founded_by(1);
    let mut look = Look::empty(&[0, 1, 2]);
    look.spec.sync_replicas = 0;
    look.is_founded_by(0);
    look.member(2).is_connected = false;
    look.waits_for(&[2]);
    let mut nameless = Look::empty(&[0, 1, 2]);
    nameless.seen.new_identity = None;
    nameless.waits_for(&[]);
}

#[test]
fn nothing_is_founded_where_there_was_a_primary() {
    let mut look = Look::empty(&[0, 1, 2]);
    look.seen.had_primary = true;
    look.is_refused(Refusal::RecordLost);
}

#[test]
fn a_volume_of_an_earlier_cluster_is_looked_at_first() {
    let mut unseen = Look::empty(&[0, 1, 2]);
    unseen.member(2).is_connected = false;
    unseen.is_founded_by(0);
    unseen.member(2).volume.as_mut().unwrap().is_of_this_cluster = false;
    unseen.waits_for(&[2]);
    // One that nobody wants may hold what the others lack.
    let mut larger = Look::empty(&[0, 1, 2, 7]);
    larger.is_founded_by(0);
    larger.member(7).volume.as_mut().unwrap().is_of_this_cluster = false;
    larger.waits_for(&[7]);
    assert_eq!(larger.begun().plan.exist, names(&[0, 1, 2, 7]));
    // Seen to be empty it is as good as a new one.
    let mut empty = Look::empty(&[0, 1, 2]);
    empty.member(1).volume.as_mut().unwrap().is_of_this_cluster = false;
    empty.is_founded_by(0);
}

#[test]
fn data_that_no_record_speaks_of_are_nobody_s() {
    let members = names(&[1]);
    Look::empty(&[0, 1, 2])
        .has(1, DATA)
        .is_refused(Refusal::MixedVolumes { members });
    let mut received = Look::empty(&[0, 1, 2]);
    received.server(2).received = DATA.parse().unwrap();
    let members = names(&[2]);
    received.is_refused(Refusal::MixedVolumes { members });
}

#[test]
fn data_of_two_clusters_are_not_mixed() {
    let one = remembered(3, 9);
    let other = Record {
        identity: uuid(0xd),
        ..one.clone()
    };
    let look = Look::empty(&[0, 1, 2]).was_told(0, &one).was_told(1, &other);
    let members = names(&[0, 1]);
    look.is_refused(Refusal::MixedVolumes { members });
}

#[test]
fn the_next_epoch_is_claimed_over_the_newest_record_that_is_remembered() {
    let (newest, longest) = (remembered(5, 20), remembered(4, 31));
    let look = Look::empty(&[0, 1, 2])
        .has(0, DATA)
        .was_told(0, &newest)
        .was_told(1, &longest);
    let decision = look.begun();
    assert_eq!(decision.state, ClusterState::Adopting);
    let expected = Record {
        voters: newest.voters.clone(),
        acknowledged_by: 1,
        wait_for: 1,
        is_choosing: true,
        ..Record::of(newest.identity, Term::new(6, 32), name(1))
    };
    assert_eq!(decision.plan.record, Some(expected));
    let primary = name(1);
    assert_eq!(decision.because, [Reason::Adopting { primary, epoch: 6 }]);
    // Who has a record stays what it is until the next one is written.
    assert_eq!(
        decision.plan.assign.keys().cloned().collect::<BTreeSet<_>>(),
        names(&[2])
    );
    // An order without a record is none.
    let mut held = look;
    held.report(2).assignment = Some(Assignment {
        record: None,
        ..held.report(0).assignment.clone().unwrap()
    });
    assert!(held.begun().plan.assign.contains_key(&name(2)));
}

#[test]
fn everybody_who_may_have_acknowledged_is_waited_for() {
    let record = remembered(5, 20);
    let mut look = Look::empty(&[0, 1, 2, 6]).was_told(0, &record);
    look.spec.instances = 2;
    assert_eq!(look.begun().plan.exist, names(&[0, 1, 2, 6]));
    assert!(look.begun().plan.record.is_some());
    look.member(2).volume = None;
    look.member(2).is_connected = false;
    look.waits_for(&[2]);
    look.member(6).is_connected = false;
    look.waits_for(&[2, 6]);
    assert_eq!(look.begun().state, ClusterState::Adopting);
}

#[test]
fn a_pod_that_cannot_start_is_made_anew_before_there_is_a_record() {
    let mut look = Look::empty(&[0, 1, 2]);
    look.member(2).is_connected = false;
    let pod = look.member(2).pod.as_mut().unwrap();
    (pod.is_current, pod.problem) = (false, Some("it wants more memory than any node has".into()));
    assert_eq!(look.begun().plan.replace, Some(name(2)));
    look.member(2).pod.as_mut().unwrap().is_current = true;
    assert_eq!(look.begun().plan.replace, None);
}
