//! Reasons and refusals as sentences: what is, and what would cure it.
//! Must not hold a number that changes while nothing happens: these go into status.

use std::collections::BTreeSet;
use std::fmt;

use crate::decide::FAILOVERS_LIMIT;
use crate::decision::{Cause, Hindrance, Occasion, Pace, Reason, Refusal, SeedReason, Unfit, Wait};
use crate::record::ByHand;
use crate::report::{Removal, Removed};

fn list(names: &BTreeSet<String>) -> String {
    match names.len() {
        0 => "nobody".to_owned(),
        _ => names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// `1 replica`, `2 replicas`.
pub fn replicas(count: u16) -> String {
    match count {
        1 => "1 replica".to_owned(),
        _ => format!("{count} replicas"),
    }
}

/// What so many of them do, by the verb of several: one `follows`, two `follow`.
pub fn does(count: u16, verb: &str) -> String {
    match count {
        1 => format!("{verb}s"),
        _ => verb.to_owned(),
    }
}

fn of_cause(cause: Cause) -> &'static str {
    match cause {
        Cause::MysqldDead => "its mysqld ended",
        Cause::Unreachable => "neither its agent nor its replicas' streams answer",
        Cause::Hung => "its mysqld does not answer",
        Cause::CutOff => "its replicas cannot reach it",
        Cause::DiskFull => "its volume is full",
        Cause::VolumeFails => "its volume takes no writes",
        Cause::DataLost => "its volume holds other data",
        Cause::SetBack => "its volume was set back: it lacks writes that it had",
    }
}

fn of_time(within_ms: u64) -> String {
    match within_ms / 1_000 {
        seconds if seconds % 60 == 0 => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

fn applying(member: &str, at_least: u64, pace: Pace) -> String {
    let (many, time) = (of_backlog(at_least), of_pace(pace));
    format!("{member} applies what it received before it opens: {many}{time}")
}

fn receiving(member: &str, at_least: u64) -> String {
    format!("{member} must acknowledge before it opens, and lacks at least {at_least} transactions")
}

fn of_backlog(at_least: u64) -> String {
    match at_least {
        1 => "1 transaction is left".to_owned(),
        _ => format!("at least {at_least} transactions are left"),
    }
}

fn of_pace(pace: Pace) -> String {
    let time = |count: u64, unit: &str| match count {
        1 => format!("1 {unit}"),
        _ => format!("{count} {unit}s"),
    };
    match pace {
        Pace::Unknown => String::new(),
        Pace::None => {
            ", and none was applied for a while: one of them is large, or waits for a lock".to_owned()
        }
        Pace::Left { seconds } => {
            let left = match seconds {
                ..60 => time(seconds, "second"),
                60..3_600 => time(seconds / 60, "minute"),
                3_600..86_400 => time(seconds / 3_600, "hour"),
                _ => return ", more than 8 hours at its pace so far".to_owned(),
            };
            format!(", no more than {left} at its pace so far")
        }
    }
}

/// What may be lost with who is named by a person.
pub fn of_loss(named: &ByHand) -> String {
    let unheard = match named.unheard.is_empty() {
        true => String::new(),
        false => format!("whatever only {} had", list(&named.unheard)),
    };
    let given_up = match named.given_up.count() {
        0 => String::new(),
        1 => format!("1 transaction ({})", Removed::told(&named.given_up)),
        count => format!("{count} transactions ({})", Removed::told(&named.given_up)),
    };
    match (unheard.is_empty(), given_up.is_empty()) {
        (true, true) => "nothing that is known".to_owned(),
        (false, false) => format!("{unheard}, and {given_up}"),
        _ => format!("{unheard}{given_up}"),
    }
}

fn by_hand(epoch: u64, named: &ByHand, is_done: bool) -> String {
    let (member, loss) = (&named.member, of_loss(named));
    match is_done {
        true => format!("{member} is primary of epoch {epoch}, chosen by hand: {loss} may be lost"),
        false => format!(
            "epoch {epoch} is claimed by hand, for {member}: if nobody else comes back, {loss} may be lost"
        ),
    }
}

/// The fields of the Switchover that would decide it, and what each choice loses.
fn left_to_people(f: &mut fmt::Formatter<'_>, epoch: u64, choices: &[ByHand]) -> fmt::Result {
    let unheard = choices.iter().flat_map(|choice| choice.unheard.iter().cloned());
    let unheard: BTreeSet<String> = unheard.collect();
    f.write_str("to decide it by hand")?;
    if !unheard.is_empty() {
        let unheard = list(&unheard);
        write!(
            f,
            ", once the data of {unheard} can never come back and certainly no mysqld runs with them any more"
        )?;
    }
    write!(
        f,
        ": create a Switchover with force: true, acceptLossInEpoch: {epoch} and "
    )?;
    for (n, choice) in choices.iter().enumerate() {
        let lead = if n == 0 { "" } else { ", or with " };
        write!(
            f,
            "{lead}target: {}, which loses {}",
            choice.member,
            of_loss(choice)
        )?;
    }
    Ok(())
}

fn of_hindrance(why: Hindrance) -> &'static str {
    match why {
        Hindrance::TooLong => "it could not be closed in time, or the other did not catch up",
        Hindrance::TargetGone => "who was to take over does not follow it any more",
    }
}

fn of_unfit(why: Unfit) -> &'static str {
    match why {
        Unfit::NotWanted => "is no member that stays",
        Unfit::NotFollowing => "does not follow it",
        Unfit::Ending => "has a Pod that is being deleted",
        Unfit::Behind => "is too far behind",
        Unfit::Alone => "would have too few others to acknowledge its writes",
    }
}

fn of_wait(why: Wait) -> &'static str {
    match why {
        Wait::Opening => "it is open for writes",
        Wait::Membership => "members have been added or removed",
        Wait::Pause => "half a minute has passed since the last try was taken back",
    }
}

fn of_occasion(why: Occasion) -> &'static str {
    match why {
        Occasion::Asked => "as asked for",
        Occasion::Removed => "it is beyond the number of instances",
        Occasion::PodEnds => "its Pod is being deleted",
        Occasion::Update => "it is to be restarted with today's spec",
    }
}

fn of_seed(why: SeedReason) -> &'static str {
    match why {
        SeedReason::Empty => "it is empty",
        SeedReason::TooFarBehind => "the primary has purged what it lacks",
        SeedReason::Diverged => "it has transactions that the primary does not have",
        SeedReason::Hole => "it lacks transactions that it wrote itself: its volume was set back",
    }
}

fn of_restart(parameters: &BTreeSet<String>) -> String {
    if parameters.is_empty() {
        return "the primary's Pod is of an older spec, and it hands over when the others are done"
            .to_owned();
    }
    let which = list(parameters);
    format!("the primary restarts for {which} when the others are done and it has handed over")
}

const SUSPENDED: &str = "spec.suspend is true: nothing is changed and nothing is failed over";

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::WaitingFor { members } => write!(f, "waiting for {}", list(members)),
            Reason::Founding { primary } => write!(f, "making {primary} the first primary"),
            Reason::WaitingForReplicas { have, need } => {
                let (all, follow) = (replicas(*need), does(*have, "follow"));
                write!(f, "{all} must have every write, {have} {follow} so far")
            }
            Reason::Opening { primary, epoch } => write!(f, "opening {primary} for writes in epoch {epoch}"),
            Reason::Applying {
                member,
                at_least,
                pace,
            } => f.write_str(&applying(member, *at_least, *pace)),
            Reason::Receiving { member, at_least } => f.write_str(&receiving(member, *at_least)),
            Reason::FailingOver { from, cause } => {
                write!(f, "failing over from {from}: {}", of_cause(*cause))
            }
            Reason::ByHand {
                epoch,
                named,
                is_done,
            } => f.write_str(&by_hand(*epoch, named, *is_done)),
            Reason::HandingOver { from, to, why } => {
                write!(f, "{from} hands over to {to}: {}", of_occasion(*why))
            }
            Reason::TakingBack { primary, why } => {
                write!(f, "{primary} stays primary: {}", of_hindrance(*why))
            }
            Reason::Joined { members } => write!(f, "{} has caught up and counts", list(members)),
            Reason::Seeding { member, from, why } => {
                write!(f, "copying all data from {from} to {member}: {}", of_seed(*why))
            }
            Reason::RaisingQuorum { from, to } => {
                write!(f, "writes will wait for {} instead of {from}", replicas(*to))
            }
            Reason::LoweringQuorum { from, to } => {
                write!(f, "writes wait for {} instead of {from}", replicas(*to))
            }
            Reason::Adding { members } => write!(f, "adding {}", list(members)),
            Reason::Removing { members } => write!(f, "removing {}", list(members)),
            Reason::Adopting { primary, epoch } => {
                let of = "taking over the volumes of an earlier cluster";
                write!(f, "{of}: {primary} is primary in epoch {epoch}")
            }
            Reason::Replacing { member } => write!(f, "making the Pod of {member} anew from today's spec"),
            Reason::Restarting { member, parameters } => {
                write!(f, "restarting mysqld of {member} for {}", list(parameters))
            }
            Reason::PrimaryRestartPending { parameters } => f.write_str(&of_restart(parameters)),
            Reason::VolumesFull { members } => {
                let full = list(members);
                write!(f, "the volume of {full} is full: raise spec.storage.size")
            }
            Reason::VolumesFail { members } => {
                write!(f, "the volume of {} takes no writes", list(members))
            }
            Reason::MembersNotServing { members } => write!(f, "not serving: {}", list(members)),
            Reason::CommitsWait { have, need } => {
                let (all, follow) = (replicas(*have), does(*have, "follow"));
                write!(f, "commits wait: {all} {follow}, {need} must acknowledge")
            }
            Reason::Forgetting { left } => {
                let old = "a failover of more than ten minutes ago";
                write!(f, "{old} is forgotten; {left} still count")
            }
            Reason::Suspended => f.write_str(SUSPENDED),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::QuorumLost { seen, missing, need } => write!(
                f,
                "{need} members with their data are needed to know every acknowledged write; seen: {}, missing: {}; \
                 bring a missing one back",
                list(seen),
                list(missing)
            ),
            Refusal::PrimaryDataLost { primary, recorded, found } => write!(
                f,
                "the volume of {primary} holds data {found}, not {recorded} that was primary: bring the volume back, \
                 or restore a backup into a new cluster"
            ),
            Refusal::HistoryDiverged { one, other } => write!(
                f,
                "{one} and {other} have different histories of the same epoch: no choice between them is safe"
            ),
            Refusal::LeftToPeople { epoch, choices } => left_to_people(f, *epoch, choices),
            Refusal::PrimaryUnreachable { primary } => {
                write!(f, "{primary} is primary and cannot be reached; it may still serve, so nobody takes over")
            }
            Refusal::MixedVolumes { members } => write!(
                f,
                "the volumes of {} hold data of another cluster, or of none that is known: remove or rename them",
                list(members)
            ),
            Refusal::RecordLost => f.write_str(
                "this cluster had a primary, its record is gone, and the volumes seen are empty: bring the volumes back, \
                 or delete the MySQLCluster and restore a backup into a new one",
            ),
            Refusal::AwaitingApproval { primary } => write!(
                f,
                "{primary} is lost and another could take over; failover.policy is Manual: create a Switchover with force: true to let it"
            ),
            Refusal::CoolingDown {
                primary,
                cause,
                failovers,
                within_ms,
            } => {
                let more = if *failovers >= FAILOVERS_LIMIT { " or more" } else { "" };
                write!(
                    f,
                    "{primary} is lost ({}) and another could take over; {failovers}{more} failovers came shortly before \
                     (status.promotions says why), so the next one begins within {}, if {primary} is not back before: \
                     create a Switchover with force: true to let it begin at once",
                    of_cause(*cause),
                    of_time(*within_ms)
                )
            }
            Refusal::NoSuccessor { primary, unfit } => {
                write!(f, "{primary} is to give its role up, and nobody can take over now")?;
                let mut all = unfit.iter().enumerate();
                all.try_for_each(|(n, (name, why))| {
                    let lead = if n == 0 { ": " } else { ", " };
                    write!(f, "{lead}{name} {}", of_unfit(*why))
                })
            }
            Refusal::HandoverWaits { primary, why } => {
                write!(f, "{primary} is to give its role up, and does so when {}", of_wait(*why))
            }
        }
    }
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, are) = match self.count {
            1 => ("transaction", "was"),
            _ => ("transactions", "were"),
        };
        let (count, transactions) = (self.count, &self.transactions);
        write!(
            f,
            "{count} {what} that nobody acknowledged ({transactions}) {are} "
        )?;
        if let Some(folder) = &self.archive {
            write!(f, "archived in {folder} and ")?;
        }
        match &self.how {
            Removal::Cut => f.write_str("removed, without a copy of all data")?,
            Removal::Copied { because: None } => f.write_str("removed by a copy of all data")?,
            Removal::Copied { because: Some(why) } => {
                write!(f, "removed by a copy of all data, because {why}")?
            }
        }
        match &self.left_out {
            Some(left_out) => write!(f, "; {left_out}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_replica_is_told_in_the_singular() {
        let said = |have, need| Reason::CommitsWait { have, need }.to_string();
        assert_eq!(said(0, 1), "commits wait: 0 replicas follow, 1 must acknowledge");
        assert_eq!(said(1, 2), "commits wait: 1 replica follows, 2 must acknowledge");
    }

    #[test]
    fn what_is_left_to_apply_is_a_sentence() {
        let said = |at_least, pace| {
            let member = "orders-1".to_owned();
            Reason::Applying {
                member,
                at_least,
                pace,
            }
            .to_string()
        };
        let before = "orders-1 applies what it received before it opens";
        assert_eq!(said(1, Pace::Unknown), format!("{before}: 1 transaction is left"));
        assert_eq!(
            said(20_000, Pace::Left { seconds: 60 }),
            format!(
                "{before}: at least 20000 transactions are left, no more than 1 minute at its pace so far"
            )
        );
        assert_eq!(
            said(2, Pace::None),
            format!(
                "{before}: at least 2 transactions are left, and none was applied for a while: one of them is large, or \
                 waits for a lock"
            )
        );
    }

    #[test]
    fn what_was_removed_is_a_sentence() {
        let mut removed = Removed {
            epoch: 2,
            count: 3,
            transactions: "uuid:101-103".into(),
            archive: Some("/data/holdfast/archive".into()),
            left_out: None,
            how: Removal::Cut,
        };
        assert_eq!(
            removed.to_string(),
            "3 transactions that nobody acknowledged (uuid:101-103) were archived in /data/holdfast/archive and \
             removed, without a copy of all data"
        );
        removed.count = 1;
        removed.archive = None;
        removed.left_out = Some("1 of them are in no archive: it is full".into());
        removed.how = Removal::Copied {
            because: Some("it is a definition".into()),
        };
        assert_eq!(
            removed.to_string(),
            "1 transaction that nobody acknowledged (uuid:101-103) was removed by a copy of all data, because it is \
             a definition; 1 of them are in no archive: it is full"
        );
    }

    #[test]
    fn times_are_told_in_the_largest_unit_that_fits() {
        let paces = [10, 60, 1_800, 3_600, 28_800, 86_400].map(|seconds| of_pace(Pace::Left { seconds }));
        let left = |time: &str| format!(", no more than {time} at its pace so far");
        let more = ", more than 8 hours at its pace so far".to_owned();
        let expected = ["10 seconds", "1 minute", "30 minutes", "1 hour", "8 hours"].map(left);
        assert_eq!(paces[..5], expected);
        assert_eq!(paces[5], more);
        let pauses = [10_000, 80_000, 160_000, 300_000].map(of_time);
        assert_eq!(pauses, ["10 s", "80 s", "160 s", "5 minutes"]);
    }

    #[test]
    fn what_a_choice_loses_is_told_with_what_only_others_had() {
        let named = |unheard: &[&str], given_up: &str| {
            of_loss(&ByHand {
                member: "orders-1".into(),
                unheard: unheard.iter().map(|name| (*name).to_owned()).collect(),
                given_up: given_up.parse().unwrap(),
            })
        };
        let one = "00000000-0000-0000-0000-000000000001:7";
        assert_eq!(named(&[], ""), "nothing that is known");
        assert_eq!(named(&["orders-0"], ""), "whatever only orders-0 had");
        assert_eq!(named(&[], one), format!("1 transaction ({one})"));
        assert_eq!(
            named(&["orders-0"], &format!("{one}-9")),
            format!("whatever only orders-0 had, and 3 transactions ({one}-9)")
        );
    }
}
