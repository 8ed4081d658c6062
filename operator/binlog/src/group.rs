//! From events to transactions: what may follow what, and what is nothing but rows of a transaction.
//! Must not call anything rows that it does not know to be rows.

use topology::gtid::Gtid;

use crate::Error;
use crate::body;
use crate::event::{Event, kind};

/// A transaction, from its GTID to the end of its last event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub gtid: Gtid,
    pub at: u64,
    pub end: u64,
    pub shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Changes of rows that end with the commit of an engine with transactions: until that commit they
    /// are only prepared there.
    Rows,
    /// Anything else, in words.
    Other(&'static str),
}

/// A transaction while its events come.
#[derive(Debug)]
pub(crate) struct Building {
    is_begun: bool,
    is_xa: bool,
    odd: Option<&'static str>,
}

/// What an event does to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    More,
    Done(Shape),
}

impl Building {
    pub(crate) fn new() -> Self {
        Self {
            is_begun: false,
            is_xa: false,
            odd: None,
        }
    }

    fn odd(&mut self, why: &'static str) {
        self.odd.get_or_insert(why);
    }

    fn done(&self, shape: Shape) -> Step {
        Step::Done(self.odd.map_or(shape, Shape::Other))
    }

    pub(crate) fn event(&mut self, event: &Event) -> Result<Step, Error> {
        let wrong = |why| Error::Event { at: event.at, why };
        if let Some(inner) = event.inner {
            return match self.is_begun {
                true => Err(wrong("a compressed transaction inside another")),
                false => Ok(self.done(inner)),
            };
        }
        if event.kind == kind::QUERY {
            let said = body::statement(&event.body).ok_or_else(|| wrong("a statement that is cut"))?;
            return Ok(self.statement(said));
        }
        if !self.is_begun {
            return Err(wrong("a transaction that does not begin"));
        }
        match event.kind {
            kind::TABLE_MAP | kind::ROWS_QUERY | kind::PARTIAL_UPDATE => {}
            rows if kind::ROWS.contains(&rows) || kind::ROWS_V1.contains(&rows) => {}
            kind::XID if self.is_xa => self.odd("it is a part of an XA transaction"),
            kind::XID => return Ok(self.done(Shape::Rows)),
            kind::XA_PREPARE => return Ok(self.done(Shape::Other("it prepares an XA transaction"))),
            kind::GTID
            | kind::TAGGED_GTID
            | kind::ANONYMOUS
            | kind::FORMAT
            | kind::PREVIOUS
            | kind::ROTATE
            | kind::STOP => return Err(wrong("a transaction that does not end")),
            _ => self.odd("it has an event that is not known"),
        }
        Ok(Step::More)
    }

    fn statement(&mut self, said: &[u8]) -> Step {
        let begins = |word: &str| {
            let front = said.get(..word.len());
            front.is_some_and(|front| front.eq_ignore_ascii_case(word.as_bytes()))
        };
        match self.is_begun {
            false if said == b"BEGIN" => self.is_begun = true,
            false if begins("XA S") => (self.is_begun, self.is_xa) = (true, true),
            false if begins("XA ") => return self.done(Shape::Other("it ends an XA transaction")),
            // Definitions of tables and accounts: some commit before the log is written.
            false => return self.done(Shape::Other("it is a statement, not rows: a definition, say")),
            true if begins("SAVEPOINT") || (begins("ROLLBAC") && said.len() > 8) => {}
            true if begins("XA ") => {}
            // The whole words would look like our own statements.
            true if begins("COMMI") || begins("ROLLBAC") => {
                return self.done(Shape::Other("its tables are of an engine without transactions"));
            }
            true => self.odd("it has a statement among its rows"),
        }
        Step::More
    }
}
