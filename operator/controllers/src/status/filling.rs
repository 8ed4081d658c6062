//! A word of warning before a volume is full, in what is said of its member.
//! Must not come and go with every write: it ends well below where it began.

use topology::report::{Disk, Report};

pub(crate) const WORDS: &str = "its volume is more than 85 % full: raise spec.storage.size";
/// Parts of a hundred that are free.
const BEGINS_PERCENT: u64 = 15;
const ENDS_PERCENT: u64 = 20;

/// What is said of a member, with that word if it is due. What cannot be seen now stays as it was said.
pub(super) fn with(
    because: Option<String>,
    said_before: Option<&str>,
    report: Option<&Report>,
) -> Option<String> {
    let was = said_before.is_some_and(|said| said.contains(WORDS));
    let is = match report {
        Some(report) if report.is_out_of_room() => false,
        Some(report) => report.disk.map_or(was, |disk| is_filling(disk, was)),
        None => was,
    };
    match (because, is) {
        (because, false) => because,
        (None, true) => Some(WORDS.to_owned()),
        (Some(because), true) => Some(format!("{because}; {WORDS}")),
    }
}

fn is_filling(disk: Disk, was: bool) -> bool {
    let percent = if was { ENDS_PERCENT } else { BEGINS_PERCENT };
    disk.total_bytes > 0 && disk.free_bytes < disk.total_bytes / 100 * percent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(free_percent: u64) -> Disk {
        Disk {
            total_bytes: 10 << 30,
            free_bytes: (10 << 30) / 100 * free_percent,
        }
    }

    #[test]
    fn it_begins_at_85_percent_and_ends_at_80() {
        for (free, was, is) in [
            (50, false, false),
            (16, false, false),
            (14, false, true),
            (16, true, true),
            (19, true, true),
            (21, true, false),
        ] {
            assert_eq!(is_filling(disk(free), was), is, "{free} % free, {was}");
        }
        let unknown = Disk {
            total_bytes: 0,
            free_bytes: 0,
        };
        assert!(!is_filling(unknown, true));
    }

    #[test]
    fn what_is_not_seen_stays_as_it_was_said_beside_what_else_there_is() {
        assert_eq!(with(None, None, None), None);
        assert_eq!(with(None, Some(WORDS), None).as_deref(), Some(WORDS));
        let more = with(Some("it is behind".into()), Some(WORDS), None);
        assert_eq!(more, Some(format!("it is behind; {WORDS}")));
    }
}
