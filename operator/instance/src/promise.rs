//! The newest assignment, kept on the volume before it is answered; nothing below its term is obeyed.
//! Must not carry an assignment out, and must not forget what was promised.

use topology::assignment::{Assignment, Role};
use topology::term::Term;

use crate::options::Paths;
use crate::volume;

/// A record holds GTID sets; the stream takes no longer frame either.
const LIMIT_BYTES: u64 = 48 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to keep the assignment on the volume")]
    Volume(#[from] volume::Error),
    #[error("failed to write the assignment as text")]
    Text(#[source] serde_json::Error),
}

/// What is known of earlier promises.
#[derive(Debug)]
pub(crate) struct Promise {
    member: String,
    assignment: Option<Assignment>,
    /// The assignment cannot be read; this much was promised, if the other file can be.
    floor: Option<Term>,
    /// Why nothing but `Hold` is obeyed.
    pub(crate) damage: Option<String>,
    /// After damage: the data must tell their epoch before anything but `Hold` is taken.
    must_see_data: bool,
}

impl Promise {
    pub(crate) fn load(paths: &Paths, member: &str) -> Self {
        let mut promise = Self {
            member: member.to_owned(),
            assignment: None,
            floor: None,
            damage: None,
            must_see_data: false,
        };
        let read = volume::read(&paths.assignment, LIMIT_BYTES).map_err(|error| error.to_string());
        let parsed = read.and_then(|bytes| match bytes {
            Some(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| error.to_string()),
            None => Ok(None),
        });
        // Data without a promise: somebody took the file away, or put the data there.
        let has_data = volume::has_entries(&paths.data).unwrap_or(true);
        match parsed {
            Ok(Some(assignment)) => promise.assignment = Some(assignment),
            Ok(None) if !has_data => {}
            Ok(None) => promise.break_with(paths, "it is missing, though there are data".into()),
            Err(why) => promise.break_with(paths, why),
        }
        promise
    }

    fn break_with(&mut self, paths: &Paths, why: String) {
        let bytes = volume::read(&paths.term, LIMIT_BYTES).ok().flatten();
        self.floor = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        self.must_see_data = self.floor.is_none();
        self.damage = Some(format!("the promise on the volume cannot be read: {why}"));
    }

    pub(crate) fn assignment(&self) -> Option<&Assignment> {
        self.assignment.as_ref()
    }

    pub(crate) fn term(&self) -> Term {
        let promised = self.assignment.as_ref().map(Assignment::term);
        promised.max(self.floor).unwrap_or_default()
    }

    /// Whether the order may be kept. `data_epoch`: the highest epoch in the data, under the order's
    /// identity, if mysqld could be asked.
    pub(crate) fn judge(&self, order: &Assignment, data_epoch: Option<u64>) -> Result<(), String> {
        if order.member != self.member {
            return Err(format!("this is {}, not {}", self.member, order.member));
        }
        if order.server.server_id == 0 {
            return Err("a server's number is never 0".into());
        }
        let promised = self.term();
        let term = order.term();
        if term < promised {
            return Err(format!("term {term} is below {promised}, which was promised"));
        }
        if let Some(kept) = self.assignment.as_ref().filter(|kept| kept.term() == term)
            && kept.record.is_some()
            && kept.record != order.record
        {
            return Err(format!("the record of term {term} was another one"));
        }
        if data_epoch.is_some_and(|epoch| epoch > term.epoch) {
            return Err(format!(
                "the data are of epoch {}, later than term {term}",
                data_epoch.unwrap_or_default()
            ));
        }
        if self.must_see_data && data_epoch.is_none() && order.role != Role::Hold {
            return Err(
                "the promise was lost, and the data have not been seen yet: only Hold is taken".into(),
            );
        }
        fits(order)
    }

    /// Blocks until it is on the disk. The promise in memory is the caller's to replace.
    pub(crate) fn keep(paths: &Paths, order: &Assignment) -> Result<(), Error> {
        let term = serde_json::to_vec(&order.term()).map_err(Error::Text)?;
        let text = serde_json::to_vec_pretty(order).map_err(Error::Text)?;
        volume::write_all(&[(&paths.term, &term), (&paths.assignment, &text)])?;
        Ok(())
    }

    /// The same, on a volume that may be new.
    pub(crate) fn prepare_and_keep(paths: &Paths, order: &Assignment) -> Result<(), Error> {
        volume::prepare(paths)?;
        Self::keep(paths, order)
    }

    pub(crate) fn replace(&mut self, order: Assignment, data_epoch: Option<u64>) {
        if data_epoch.is_some() || self.floor.is_some() {
            self.must_see_data = false;
        }
        self.assignment = Some(order);
        self.damage = None;
    }
}

/// Whether the order makes sense by itself.
fn fits(order: &Assignment) -> Result<(), String> {
    let me = &order.member;
    let Some(record) = &order.record else {
        return match order.role {
            Role::Hold => Ok(()),
            _ => Err(format!("{} needs a record", order.role.name())),
        };
    };
    let is_primary = record.primary == *me;
    match &order.role {
        Role::Hold => Ok(()),
        Role::Found | Role::Retire | Role::Primary { .. } if !is_primary => {
            Err(format!("the record's primary is {}", record.primary))
        }
        Role::Found if record.term.epoch > 0 => Err("a cluster is founded before its first epoch".into()),
        Role::Found | Role::Primary { .. } if record.is_choosing => {
            Err("the epoch's primary is not chosen yet".into())
        }
        Role::Retire if record.handing_to.is_none() => Err("nobody is to take over".into()),
        Role::Primary { .. } if record.handing_to.is_some() => Err("the primary hands over".into()),
        Role::Primary { .. } if record.term.epoch == 0 => Err("epoch 0 has no open primary".into()),
        Role::Primary { wait_for } if *wait_for < record.acknowledged_by => Err(format!(
            "waiting for {wait_for} is less than the record's {}",
            record.acknowledged_by
        )),
        Role::Replica { source } if source.member == *me => Err("nobody follows itself".into()),
        Role::Clone { donor, .. } if donor.member == *me => Err("nobody clones itself".into()),
        Role::Replica { .. } | Role::Clone { .. } if is_primary => {
            Err("the record's primary neither follows nor clones".into())
        }
        Role::Found | Role::Retire | Role::Primary { .. } | Role::Replica { .. } | Role::Clone { .. } => {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
