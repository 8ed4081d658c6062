//! The objects of a cluster as the API server and people would see them.
//! Must not talk to a server: what it does with them is for stories on a real one.

#![cfg(test)]

mod fitness;
mod hostile;
mod limits;
mod record;
mod restricted;
mod samples;
mod secrets;
mod snapshots;
mod template;
mod volumes;
