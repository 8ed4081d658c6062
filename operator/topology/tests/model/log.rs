//! Histories: transactions in the order in which a member got them.
//! Must not know what a transaction means for the cluster.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::bounds::LOG_LIMIT;

/// A transaction: who wrote it, and its number.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tx(u8);

impl Tx {
    /// The writer of the epochs' transactions.
    pub(crate) const IDENTITY: u8 = 15;

    pub(crate) fn new(writer: u8, number: u8) -> Self {
        assert!(
            writer <= Self::IDENTITY && (1..16).contains(&number),
            "the bounds are too wide"
        );
        Self(writer << 4 | number)
    }

    pub(crate) fn epoch(epoch: u64) -> Self {
        Self::new(Self::IDENTITY, u8::try_from(epoch).expect("a small number"))
    }

    pub(crate) fn writer(self) -> u8 {
        self.0 >> 4
    }

    pub(crate) fn number(self) -> u8 {
        self.0 & 15
    }
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.writer() {
            Self::IDENTITY => write!(f, "e{}", self.number()),
            writer => write!(f, "{writer}:{}", self.number()),
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Log {
    txs: [Tx; LOG_LIMIT],
    len: u8,
}

impl Hash for Log {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.all().hash(state);
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}

impl Log {
    pub(crate) fn all(&self) -> &[Tx] {
        &self.txs[..usize::from(self.len)]
    }

    pub(crate) fn len(&self) -> u8 {
        self.len
    }

    pub(crate) fn push(&mut self, tx: Tx) {
        self.txs[usize::from(self.len)] = tx;
        self.len += 1;
    }

    pub(crate) fn truncate(&mut self, len: u8) {
        for tx in &mut self.txs[usize::from(len)..] {
            *tx = Tx::default();
        }
        self.len = self.len.min(len);
    }

    pub(crate) fn prefix(mut self, len: u8) -> Self {
        self.truncate(len);
        self
    }

    pub(crate) fn contains(&self, tx: Tx) -> bool {
        self.all().contains(&tx)
    }

    pub(crate) fn is_within(&self, other: &Log) -> bool {
        self.all().iter().all(|tx| other.contains(*tx))
    }

    /// The number that this writer gives out next.
    pub(crate) fn next_of(&self, writer: u8) -> Tx {
        let own = self.all().iter().filter(|tx| tx.writer() == writer);
        Tx::new(writer, own.map(|tx| tx.number()).max().unwrap_or(0) + 1)
    }

    /// The highest epoch in it.
    pub(crate) fn epoch(&self) -> u64 {
        let epochs = self.all().iter().filter(|tx| tx.writer() == Tx::IDENTITY);
        u64::from(epochs.map(|tx| tx.number()).max().unwrap_or(0))
    }

    /// What came before a transaction, sorted; `None` without it.
    pub(crate) fn before(&self, tx: Tx) -> Option<Vec<Tx>> {
        let at = self.all().iter().position(|other| *other == tx)?;
        let mut before = self.all()[..at].to_vec();
        before.sort_unstable();
        Some(before)
    }
}
