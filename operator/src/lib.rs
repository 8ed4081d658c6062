//! What the subcommands of the binary do.
//! Must not parse arguments: main does.

pub mod definitions;
