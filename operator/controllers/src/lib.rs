//! The shell around the decisions: what is seen is put together, what was decided is carried out.
//! Must not decide, and must not speak SQL.

mod announce;
mod audit;
mod cache;
mod captures;
mod cluster_loop;
mod context;
mod desk;
mod dispatch;
mod exact;
mod execute;
mod filing;
mod handing;
mod hearing;
mod labels;
mod links;
mod metrics;
mod observe;
mod paperwork;
mod pass;
mod passwords;
mod problems;
mod records;
mod removal;
mod run;
pub mod says;
mod status;
mod steps;
mod story;
mod supply;
mod switching;
#[cfg(test)]
mod testing;
mod trust;
mod watches;

pub use run::{Error, Options, run};

/// At most `limit_bytes`, cut between characters, with an ellipsis where something is missing.
fn cut(text: &str, limit_bytes: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= limit_bytes {
        return text.to_owned();
    }
    let room = limit_bytes.saturating_sub(MARK.len());
    format!("{}{MARK}", &text[..text.floor_char_boundary(room)])
}
