//! mysqld as a program and a process: found, configured, given data, started, heard.
//! Must not speak SQL to it.

pub(crate) mod child;
pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod error_log;
pub(crate) mod parameters;
pub(crate) mod program;
pub(crate) mod start;
