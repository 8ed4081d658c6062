//! Small tools that every part of the operator needs in the same way.
//! Must not know clusters, members or MySQL.

pub mod yaml;
