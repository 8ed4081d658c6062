//! Parameters that users choose, while the server runs.
//! Must not judge whether a parameter may be chosen.

use crate::{Deadline, Error, Session, quote};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    Now,
    /// Known from the file only: not a variable, or one that is read at the start.
    NeedsRestart,
    /// In the server's words; the old value stays.
    Refused(String),
}

/// Unknown as a variable; no default to go back to; read only; only for a session.
const FILE_ONLY: [u16; 4] = [1193, 1230, 1238, 1228];
/// The variable takes a text, not a number.
const WRONG_TYPE: u16 = 1232;

/// `None` is the server's own default. Needs a session of `Job::Accounts`: some variables ask for
/// rights that the agent has not.
pub async fn set(
    session: &mut Session,
    name: &str,
    value: Option<&str>,
    deadline: Deadline,
) -> Result<Changed, Error> {
    let doing = "set a parameter";
    let name = quote::identifier(name).ok_or_else(|| Error::Input {
        doing,
        what: "that is not the name of a parameter".into(),
    })?;
    let literal = value.map_or_else(|| "DEFAULT".to_owned(), literal);
    let sql = format!("SET GLOBAL {name} = {literal}");
    let mut ended = session.run(doing, &sql, deadline).await;
    if let (Err(error), Some(text)) = (&ended, value)
        && error.code() == Some(WRONG_TYPE)
        && !literal.starts_with('\'')
    {
        let sql = format!("SET GLOBAL {name} = {}", quote::string(text));
        ended = session.run(doing, &sql, deadline).await;
    }
    match ended {
        Ok(_) => Ok(Changed::Now),
        Err(Error::Server { code, .. }) if FILE_ONLY.contains(&code) => Ok(Changed::NeedsRestart),
        Err(Error::Server { message, .. }) => Ok(Changed::Refused(message)),
        Err(other) => Err(other),
    }
}

/// As a file's value is read by mysqld: `64M` is a number, `true` is 1, the rest is text.
fn literal(value: &str) -> String {
    let text = value.trim();
    match text.to_ascii_lowercase().as_str() {
        "true" => return "1".into(),
        "false" => return "0".into(),
        _ => {}
    }
    if let Some(number) = bytes(text) {
        return number.to_string();
    }
    let has_digit = text.starts_with(|letter: char| letter.is_ascii_digit() || letter == '-');
    // Neither `inf` nor `1e5` is a number to a file.
    let is_plain = text
        .chars()
        .all(|letter| letter.is_ascii_digit() || "-.".contains(letter));
    if has_digit && is_plain && text.parse::<f64>().is_ok() {
        return text.into();
    }
    quote::string(value)
}

fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 10),
        (at, 'm' | 'M') => (&text[..at], 20),
        (at, 'g' | 'G') => (&text[..at], 30),
        (at, 't' | 'T') => (&text[..at], 40),
        (at, 'p' | 'P') => (&text[..at], 50),
        (at, 'e' | 'E') => (&text[..at], 60),
        _ => (text, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_files_become_literals() {
        for (value, wanted) in [
            ("500", "500"),
            ("64M", "67108864"),
            ("1g", "1073741824"),
            ("0.25", "0.25"),
            ("-1", "-1"),
            ("true", "1"),
            ("ON", "'ON'"),
            ("M", "'M'"),
            ("1e5", "'1e5'"),
            ("99999999999E", "'99999999999E'"),
            ("ROW; DROP", "'ROW; DROP'"),
            ("it's", "'it''s'"),
        ] {
            assert_eq!(literal(value), wanted, "{value}");
        }
    }
}
