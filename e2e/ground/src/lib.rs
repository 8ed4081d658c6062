//! The proving ground: a real Kubernetes of several nodes on one machine, and faults for it.
//! Must not know MySQL or the operator beyond the names of their images.

pub mod archive;
pub mod cache;
pub mod cgroup;
pub mod commands;
pub mod control_plane;
pub mod down;
pub mod faults;
pub mod ground;
pub mod images;
pub mod init;
pub mod logs;
pub mod machine;
pub mod network;
pub mod node;
pub mod preflight;
pub mod probe;
pub mod progress;
pub mod prove;
pub mod shell;
pub mod spec;
pub mod status;
pub mod tools;
pub mod up;
