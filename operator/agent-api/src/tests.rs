//! Both ends over loopback, with authorities made on the spot.
//! Must not reach beyond this machine.

mod closed;
mod exchange;
mod peers;
pub(crate) mod support;
