//! What controller and agent say to each other, and the stream it goes over.
//! Must not hold a decision of either side.

pub mod message;
