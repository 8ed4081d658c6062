//! What the member is and should be: facts, steps towards the assignment, and the tasks that take them.
//! Must not start or end mysqld.

pub(crate) mod account;
pub(crate) mod beats;
pub(crate) mod cloning;
pub(crate) mod close;
pub(crate) mod execute;
pub(crate) mod halt;
pub(crate) mod hearing;
pub(crate) mod hush;
pub(crate) mod rules;
pub(crate) mod sampling;
pub(crate) mod sessions;
pub(crate) mod steps;
