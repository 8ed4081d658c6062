//! The shell around the decisions: what is seen is put together, what was decided is carried out.
//! Must not decide, and must not speak SQL.

mod cache;
mod exact;
mod problems;
mod status;

use objects::names::LABEL_CLUSTER;

/// At most `limit_bytes`, cut between characters, with an ellipsis where something is missing.
fn cut(text: &str, limit_bytes: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= limit_bytes {
        return text.to_owned();
    }
    let room = limit_bytes.saturating_sub(MARK.len());
    format!("{}{MARK}", &text[..text.floor_char_boundary(room)])
}
