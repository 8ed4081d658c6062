//! Small tools that every part of the operator needs in the same way.
//! Must not know clusters, members or MySQL.

pub mod apply;
pub mod backoff;
pub mod certificates;
pub mod client;
pub mod conditions;
pub mod events;
pub mod http;
pub mod lease;
pub mod metrics;
pub mod shutdown;
pub mod telemetry;
pub mod yaml;

/// At most `limit_bytes`, cut between characters, with an ellipsis where something is missing.
fn cut(text: &str, limit_bytes: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= limit_bytes {
        return text.to_owned();
    }
    let Some(room) = limit_bytes.checked_sub(MARK.len()) else {
        return String::new();
    };
    format!("{}{MARK}", &text[..text.floor_char_boundary(room)])
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "lo…");
        assert_eq!(cut("äöü", 5), "ä…");
        assert_eq!(cut("äöü", 6), "äöü");
        assert_eq!(cut("日本語", 8), "日…");
        assert_eq!(cut("ab", 1), "");
        for limit in 0..20 {
            assert!(cut("aä日𝄞aä日𝄞", limit).len() <= limit);
        }
    }
}
