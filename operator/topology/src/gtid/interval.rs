//! The numbers of one source: sorted ranges that neither overlap nor touch.
//! Must not know sources or text; every function keeps the ranges normal.

/// The largest transaction number MySQL gives out.
pub(super) const LAST_NUMBER: u64 = i64::MAX as u64 - 1;

/// A range of numbers, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Interval {
    pub(super) first: u64,
    pub(super) last: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Intervals(Vec<Interval>);

impl Intervals {
    /// Accepts ranges in any order, overlapping or not. Empty ones are not allowed in.
    pub(super) fn from_unsorted(mut ranges: Vec<Interval>) -> Self {
        ranges.sort_unstable();
        let mut normal = Self(Vec::with_capacity(ranges.len()));
        for range in ranges {
            normal.push(range);
        }
        normal
    }

    /// Appends a range that begins no earlier than the last one does.
    fn push(&mut self, range: Interval) {
        match self.0.last_mut() {
            Some(end) if range.first <= end.last.saturating_add(1) => end.last = end.last.max(range.last),
            _ => self.0.push(range),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Interval> + '_ {
        self.0.iter().copied()
    }

    pub(super) fn count(&self) -> u128 {
        self.0.iter().map(|r| u128::from(r.last - r.first) + 1).sum()
    }

    pub(super) fn last(&self) -> u64 {
        self.0.last().map_or(0, |range| range.last)
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        let after = self.0.partition_point(|r| r.first <= number);
        after > 0 && number <= self.0[after - 1].last
    }

    pub(super) fn insert(&mut self, number: u64) {
        let at = self.0.partition_point(|r| r.first <= number);
        if at > 0 && number <= self.0[at - 1].last {
            return;
        }
        let joins_before = at > 0 && self.0[at - 1].last + 1 == number;
        let joins_after = self.0.get(at).is_some_and(|next| next.first == number + 1);
        match (joins_before, joins_after) {
            (true, true) => {
                self.0[at - 1].last = self.0[at].last;
                self.0.remove(at);
            }
            (true, false) => self.0[at - 1].last = number,
            (false, true) => self.0[at].first = number,
            (false, false) => self.0.insert(
                at,
                Interval {
                    first: number,
                    last: number,
                },
            ),
        }
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.0.as_slice(), other.0.as_slice());
        let mut both = Self(Vec::with_capacity(left.len() + right.len()));
        loop {
            let from = match (left.first(), right.first()) {
                (Some(l), Some(r)) if l.first <= r.first => &mut left,
                (Some(_), None) => &mut left,
                (_, Some(_)) => &mut right,
                (None, None) => return both,
            };
            both.push(from[0]);
            *from = &from[1..];
        }
    }

    pub(super) fn intersect(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.0.as_slice(), other.0.as_slice());
        let mut common = Vec::new();
        while let (Some(l), Some(r)) = (left.first(), right.first()) {
            let (first, last) = (l.first.max(r.first), l.last.min(r.last));
            if first <= last {
                common.push(Interval { first, last });
            }
            if l.last < r.last {
                left = &left[1..];
            } else {
                right = &right[1..];
            }
        }
        // Two normal lists have gaps of at least one number, so common ranges cannot touch.
        Self(common)
    }

    pub(super) fn subtract(&self, other: &Self) -> Self {
        let mut rest = Vec::new();
        let mut cuts = other.0.as_slice();
        for range in &self.0 {
            let mut first = range.first;
            while let Some(cut) = cuts.first().filter(|cut| cut.first <= range.last) {
                if first < cut.first {
                    rest.push(Interval {
                        first,
                        last: cut.first - 1,
                    });
                }
                first = first.max(cut.last + 1);
                if cut.last > range.last {
                    // This cut may reach into the next range: keep it.
                    break;
                }
                cuts = &cuts[1..];
            }
            if first <= range.last {
                rest.push(Interval {
                    first,
                    last: range.last,
                });
            }
        }
        Self(rest)
    }

    pub(super) fn is_subset(&self, other: &Self) -> bool {
        let mut covers = other.0.as_slice();
        self.0.iter().all(|range| {
            while let Some(cover) = covers.first().filter(|cover| cover.last < range.last) {
                if cover.last >= range.first {
                    // It ends inside the range, and no other begins right behind it.
                    return false;
                }
                covers = &covers[1..];
            }
            covers.first().is_some_and(|cover| cover.first <= range.first)
        })
    }
}
