//! The one place where text becomes part of a statement: strings, identifiers, patterns.
//! Must not be bypassed; a session pins the SQL mode that these rules are for.

/// A string literal, for the SQL mode that `Session` sets: backslash escapes, double quotes too.
/// A server whose default mode is NO_BACKSLASH_ESCAPES or ANSI_QUOTES makes no difference.
pub fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for letter in text.chars() {
        match letter {
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            '\0' => quoted.push_str("\\0"),
            // Not needed for the grammar, kind to whoever reads a log.
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\u{1a}' => quoted.push_str("\\Z"),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    quoted
}

/// A name between backticks. MySQL allows no NUL in names and no character beyond U+FFFF.
pub fn identifier(name: &str) -> Option<String> {
    let is_good = !name.is_empty()
        && name.chars().count() <= 64
        && !name.ends_with(' ')
        && name.chars().all(|letter| letter != '\0' && letter <= '\u{ffff}');
    is_good.then(|| format!("`{}`", name.replace('`', "``")))
}

/// The name of a database where GRANT reads a pattern: `_` and `%` stand for themselves.
/// With partial revokes on, the server reads no patterns there: `identifier` is right then.
pub fn database_pattern(name: &str) -> Option<String> {
    identifier(name)?;
    // A literal backslash cannot be told from an escape there.
    if name.contains('\\') {
        return None;
    }
    let escaped = name.replace('_', "\\_").replace('%', "\\%");
    Some(format!("`{}`", escaped.replace('`', "``")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted() {
        for (text, wanted) in [
            ("", "''"),
            ("plain", "'plain'"),
            ("it's", "'it''s'"),
            ("'; DROP USER a; -- ", "'''; DROP USER a; -- '"),
            (r"\", r"'\\'"),
            (r"\'", r"'\\'''"),
            ("\"`", "'\"`'"),
            ("a\0b\nc\rd\u{1a}", r"'a\0b\nc\rd\Z'"),
            ("ключ 🗝", "'ключ 🗝'"),
        ] {
            assert_eq!(string(text), wanted);
        }
    }

    #[test]
    fn identifiers_are_quoted_or_refused() {
        assert_eq!(identifier("a").as_deref(), Some("`a`"));
        assert_eq!(identifier("a`b").as_deref(), Some("`a``b`"));
        assert_eq!(identifier("a'\"\\b").as_deref(), Some("`a'\"\\b`"));
        assert_eq!(identifier("данные").as_deref(), Some("`данные`"));
        let long = "x".repeat(65);
        for bad in ["", "a\0", "🗝", "a ", long.as_str()] {
            assert_eq!(identifier(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn patterns_stand_for_themselves() {
        assert_eq!(database_pattern("a_b%").as_deref(), Some("`a\\_b\\%`"));
        assert_eq!(database_pattern("a`_").as_deref(), Some("`a``\\_`"));
        assert_eq!(database_pattern("a\\_"), None);
    }
}
