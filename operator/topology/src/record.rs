//! What is remembered of a cluster: one small object, written by compare-and-swap only.
//! Must not hold what can be seen; status is output, this is the truth that decisions rest on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::gtid::{GtidSet, Source, Uuid};
use crate::term::Term;

/// How a cluster is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Under which epochs are numbered in the data: epoch 7 is the transaction `<identity>:7`.
    pub identity: Uuid,
    /// Epoch 0: the first primary is being made, nothing was ever acknowledged to a client.
    pub term: Term,
    /// Who may acknowledge writes in this epoch.
    pub primary: String,
    /// The epoch is claimed and its primary is not chosen yet: everybody is to hold still, `primary` is
    /// the one before.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_choosing: bool,
    /// While an epoch is claimed because the replicas do not reach their primary: it, and whoever may still be on
    /// its side. They take no part in the choice as long as the others are enough, whatever they have.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub left_out: BTreeSet<String>,
    /// The primary gives its role up, for this one: it is closed while everybody still follows it, and what it
    /// then holds is all of its epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handing_to: Option<String>,
    /// Everybody whose acknowledgement may ever have counted: a superset, the primary among them.
    pub voters: BTreeMap<String, Voter>,
    /// So many replicas, at least, have whatever was acknowledged: a lower bound.
    pub acknowledged_by: u16,
    /// So many replicas the primary is told to wait for. Above `acknowledged_by` while it is being
    /// raised, never below it.
    pub wait_for: u16,
    /// All that counts of the epochs before: what the primary had when this epoch began. What an
    /// older primary holds beyond it was never acknowledged. While the next primary is chosen it is still
    /// that of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<GtidSet>,
    /// So many failovers are not forgotten yet: the more, the longer the next one waits.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failovers: u16,
    /// A person named who is primary of this epoch, where no choice was safe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<ByHand>,
}

/// A primary that is named by a person, and what may be lost with that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ByHand {
    pub member: String,
    /// What only these voters had.
    pub unheard: BTreeSet<String>,
    /// What others that were heard have, and this one has not.
    #[serde(default, skip_serializing_if = "GtidSet::is_empty")]
    pub given_up: GtidSet,
}

/// One whose acknowledgements may count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Voter {
    /// The incarnation that has everything acknowledged so far, or got it. `None`: none has yet;
    /// such a voter is never counted as reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Uuid>,
    /// It is being removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Leaving>,
}

/// How far the removal of a voter is. It still belongs to the superset of those who may acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leaving {
    /// It is told to follow nobody.
    Asked,
    /// It was seen to follow nobody. A commit proved in this term or later strikes it out.
    Silent,
}

// Serde hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !flag
}

// The same.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u16) -> bool {
    *count == 0
}

impl Record {
    /// Nobody votes, nothing was acknowledged, and nothing has happened.
    pub fn of(identity: Uuid, term: Term, primary: impl Into<String>) -> Self {
        Self {
            identity,
            term,
            primary: primary.into(),
            is_choosing: false,
            left_out: BTreeSet::new(),
            handing_to: None,
            voters: BTreeMap::new(),
            acknowledged_by: 0,
            wait_for: 0,
            cut: None,
            failovers: 0,
            by_hand: None,
        }
    }

    /// The record as it would be written next in this epoch.
    pub fn revised(&self) -> Self {
        let mut next = self.clone();
        next.term.revision += 1;
        next
    }

    /// The record as it would be written to begin the next epoch.
    pub fn next_epoch(&self) -> Self {
        let mut next = self.revised();
        next.term.epoch += 1;
        next.by_hand = None;
        next
    }

    /// What data hold beyond all that counts of the epochs before the last one that began, as long as they hold
    /// nothing of that: nobody was promised it. Whoever followed with it could never be told from the others
    /// again.
    pub fn beyond_cut(&self, all: &GtidSet) -> GtidSet {
        let epochs = Source::from(self.identity);
        match &self.cut {
            Some(cut) if all.highest(&epochs) < self.last_epoch() => all.subtract(cut),
            _ => GtidSet::new(),
        }
    }

    /// Something of the last epoch that began is there, and not all that it began with. A source sends in order, so what is
    /// missing never comes: mysqld takes nothing that bears its own number, and a volume that was set back lacks what it
    /// wrote itself.
    pub fn has_hole(&self, all: &GtidSet) -> bool {
        let epochs = Source::from(self.identity);
        let has_begun = all.highest(&epochs) >= self.last_epoch();
        has_begun && self.cut.as_ref().is_some_and(|cut| !cut.is_subset(all))
    }

    /// The cut is of this one: while the next one's primary is chosen, still of the one before.
    fn last_epoch(&self) -> u64 {
        self.term.epoch.saturating_sub(u64::from(self.is_choosing))
    }

    /// What a member wrote itself without being the primary: its own numbers beyond the cut, which has all that
    /// counts of the epochs in which it may have led. Nobody was promised them. Of the primary of the last epoch
    /// that cannot be told, and of nobody where the cut is not known.
    pub fn errant(&self, incarnation: Uuid, all: &GtidSet) -> GtidSet {
        let primary = self.voters.get(&self.primary).and_then(|voter| voter.incarnation);
        match (&self.cut, primary) {
            (Some(cut), Some(primary)) if primary != incarnation => {
                let own = all.clone().without(|source| source.uuid != incarnation);
                own.subtract(cut)
            }
            _ => GtidSet::new(),
        }
    }

    /// What is to be archived before its data are replaced: nobody was promised it.
    pub fn unpromised(&self, incarnation: Uuid, all: &GtidSet) -> GtidSet {
        self.beyond_cut(all).union(&self.errant(incarnation, all))
    }

    /// Whether this incarnation of the member counts.
    pub fn counts(&self, member: &str, incarnation: Uuid) -> bool {
        let voter = self.voters.get(member);
        voter.is_some_and(|voter| voter.incarnation == Some(incarnation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const OLD: &str = "00000000-0000-0000-0000-000000000001";

    fn set(text: &str) -> GtidSet {
        text.replace("epoch", IDENTITY)
            .replace("old", OLD)
            .parse()
            .unwrap()
    }

    #[test]
    fn a_record_survives_being_written_and_read() {
        for is_choosing in [false, true] {
            let record = Record {
                is_choosing,
                left_out: BTreeSet::from_iter(is_choosing.then(|| "orders-0".to_owned())),
                handing_to: Some("orders-1".into()),
                acknowledged_by: 1,
                wait_for: 2,
                cut: Some(set("epoch:1,old:1-5")),
                failovers: u16::from(is_choosing),
                ..Record::of(IDENTITY.parse().unwrap(), Term::new(2, 7), "orders-0")
            };
            let text = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record, "{text}");
            assert_eq!(text.contains("isChoosing"), is_choosing, "{text}");
            assert_eq!(text.contains("failovers"), is_choosing, "{text}");
        }
    }

    #[test]
    fn only_data_without_this_epoch_are_compared_with_its_beginning() {
        let mut record = Record {
            acknowledged_by: 1,
            wait_for: 1,
            cut: Some(set("epoch:1,old:1-5")),
            ..Record::of(IDENTITY.parse().unwrap(), Term::new(2, 7), "orders-1")
        };
        assert!(record.beyond_cut(&set("")).is_empty());
        assert!(record.beyond_cut(&set("epoch:1,old:1-5")).is_empty());
        assert_eq!(record.beyond_cut(&set("epoch:1,old:1-6")), set("old:6"));
        // It got this from the primary of this epoch, and was compared before.
        assert!(
            record
                .beyond_cut(&set("epoch:1-2,old:1-5,00000000-0000-0000-0000-000000000002:1"))
                .is_empty()
        );
        // The next epoch is claimed: the cut is that of epoch 2 still.
        record.term.epoch = 3;
        assert_eq!(record.beyond_cut(&set("epoch:1-2,old:1-6")), set("epoch:2,old:6"));
        record.is_choosing = true;
        assert!(record.beyond_cut(&set("epoch:1-2,old:1-6")).is_empty());
        assert_eq!(record.beyond_cut(&set("epoch:1,old:1-6")), set("old:6"));
        record.cut = None;
        assert!(record.beyond_cut(&set("epoch:1,old:1-6")).is_empty());
    }

    #[test]
    fn only_a_primary_has_numbers_of_its_own_beyond_the_cut() {
        const NEW: &str = "00000000-0000-0000-0000-000000000002";
        let set = |text: &str| set(&text.replace("new", NEW));
        let [old, new]: [Uuid; 2] = [OLD, NEW].map(|uuid| uuid.parse().unwrap());
        let voter = |incarnation| Voter {
            incarnation,
            leaving: None,
        };
        let voters = [("orders-0", Some(old)), ("orders-1", Some(new))];
        let mut record = Record {
            voters: voters.map(|(name, is)| (name.to_owned(), voter(is))).into(),
            acknowledged_by: 1,
            wait_for: 1,
            cut: Some(set("epoch:1,old:1-5")),
            ..Record::of(IDENTITY.parse().unwrap(), Term::new(2, 7), "orders-1")
        };
        let all = set("epoch:1-2,old:1-6,old:tag:1,new:1-9");
        assert_eq!(record.errant(old, &all), set("old:6,old:tag:1"));
        assert!(record.errant(new, &all).is_empty());
        // The next epoch is claimed: the primary of the last one is named still.
        record.term.epoch = 3;
        record.is_choosing = true;
        assert_eq!(record.errant(old, &all), set("old:6,old:tag:1"));
        assert_eq!(
            record.unpromised(old, &set("epoch:1,old:7,new:1")),
            set("old:7,new:1")
        );
        assert!(record.errant(new, &all).is_empty());
        record.voters.insert("orders-1".into(), voter(None));
        assert!(record.errant(old, &all).is_empty());
        record.voters.insert("orders-1".into(), voter(Some(new)));
        record.cut = None;
        assert!(record.errant(old, &all).is_empty());
    }

    #[test]
    fn what_was_before_the_last_epoch_and_did_not_come_with_it_never_comes() {
        let mut record = Record {
            cut: Some(set("epoch:1,old:1-9")),
            ..Record::of(IDENTITY.parse().unwrap(), Term::new(2, 5), "orders-1")
        };
        let holes = |record: &Record| {
            let all = [
                "epoch:1-2,old:1-4",
                "epoch:1-2,old:1-9",
                // The rest is on its way.
                "epoch:1,old:1-4",
            ];
            all.map(|all| record.has_hole(&set(all)))
        };
        assert_eq!(holes(&record), [true, false, false]);
        (record.term.epoch, record.is_choosing) = (3, true);
        assert_eq!(holes(&record), [true, false, false]);
        record.is_choosing = false;
        assert_eq!(holes(&record), [false, false, false]);
        record.cut = None;
        assert_eq!(holes(&record), [false, false, false]);
    }
}
