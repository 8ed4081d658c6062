//! What the subcommands of the binary do.
//! Must not parse arguments: main does.

pub mod controller;
pub mod decide;
pub mod definitions;
pub mod instance;
pub mod output;
pub mod process;
pub mod status;
