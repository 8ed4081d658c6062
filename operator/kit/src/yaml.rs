//! The one place that writes YAML.
//! Must not read any.
//!
//! kubectl reads YAML 1.1, where a bare `ON` is true, `1_000` a number and `12:30:45` a count of
//! seconds. MySQL's settings are full of such words, so every string that could be read as
//! something else is quoted.

use serde::Serialize;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to write YAML")]
    Write(#[source] serde_saphyr::ser::Error),
}

/// One document, with a newline at its end.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, Error> {
    let mut text = serde_saphyr::to_string(value).map_err(Error::Write)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Everything that YAML 1.1 reads as something else than a string, as kubectl does.
    const MISREAD: &[&str] = &[
        "ON",
        "On",
        "on",
        "OFF",
        "Off",
        "off",
        "yes",
        "Yes",
        "YES",
        "no",
        "No",
        "NO",
        "y",
        "Y",
        "n",
        "N",
        "true",
        "True",
        "TRUE",
        "false",
        "False",
        "FALSE",
        "null",
        "Null",
        "NULL",
        "~",
        "",
        "0",
        "1",
        "-1",
        "+1",
        "007",
        "08",
        "0o17",
        "0x1F",
        "0b101",
        "1_000",
        "-1_000",
        "1e3",
        "1.5",
        ".5",
        "5.",
        "1_000.5",
        ".inf",
        "-.INF",
        ".nan",
        ".NaN",
        "12:30:45",
        "190:20:30",
        "12:30",
        "190:20:30.15",
        "2026-11-21",
        "2026-11-21T10:00:00Z",
        "2026-11-21 10:00:00",
        "=",
        "<<",
        "-",
        "?",
        ":",
        "- a",
        "? a",
        "a: b",
        "a #b",
        "#a",
        "&a",
        "*a",
        "!a",
        "!!int 3",
        "|",
        ">",
        "%a",
        "@a",
        "`a",
        "[a",
        "]",
        "{a",
        "}",
        ",",
        "'a",
        "\"a",
        " a",
        "a ",
        "a:",
        "\ta",
        "a\nb",
        "a\n",
        "\n",
        "---",
        "...",
        "--- a",
        "0777",
        "1,000",
        "9.7",
        "8.4.6",
        "26.10",
        "1e1000",
        "é",
        "\u{2028}",
        "\u{feff}a",
        "\u{7f}",
        "\u{85}",
        "ON\nOFF",
        "\r",
        "a\rb",
    ];

    #[test]
    fn no_string_is_mistaken_for_something_else() {
        for word in MISREAD {
            let value = json!({ "value": word, "list": [word], *word: 1 });
            let text = to_string(&value).unwrap();
            let read: Value =
                serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{word:?}: {error}\n{text}"));
            assert_eq!(read, value, "{text}");
            if looks_like_something_else(word) {
                for line in text.lines().filter(|line| !line.is_empty()) {
                    let bare = format!("value: {word}");
                    assert!(
                        line != bare && line != format!("- {word}") && line != format!("{word}: 1"),
                        "bare: {line}"
                    );
                }
            }
        }
    }

    /// What a YAML 1.1 reader takes for a boolean, a number, a null or a time. serde_yaml, which
    /// reads 1.2, does not, so that reading back proves nothing for these.
    fn looks_like_something_else(word: &str) -> bool {
        let lower = word.to_ascii_lowercase();
        let is_word = [
            "on", "off", "yes", "no", "y", "n", "true", "false", "null", "~", "=", "<<",
        ]
        .contains(&&*lower);
        let of = |set: &str| !word.is_empty() && word.chars().all(|letter| set.contains(letter));
        let digits = word.chars().any(|letter| letter.is_ascii_digit());
        let is_number = digits
            && (of("0123456789_.:+-") || of("0123456789abcdefxo_ABCDEF+-.") || word.starts_with("2026-"));
        // A version of three parts is a string to every reader.
        is_word || (is_number && word != "8.4.6")
    }

    #[test]
    fn settings_of_mysql_come_out_quoted() {
        let text =
            to_string(&json!({ "gtid_mode": "ON", "max_connections": "500", "wait": "12:30:45", "ON": "a" }));
        assert_eq!(
            text.unwrap(),
            "\"ON\": a\ngtid_mode: \"ON\"\nmax_connections: \"500\"\nwait: \"12:30:45\"\n"
        );
    }

    #[test]
    fn long_and_many_lined_text_comes_back() {
        let long = "word ".repeat(60);
        for text in [
            long.as_str(),
            long.trim_end(),
            "a\n\n b\n",
            "  indented\nthen not",
            "tail\n\n\n",
            "x\n \ny",
        ] {
            let value = json!({ "text": text, "nested": [{ "text": text }] });
            let read: Value = serde_yaml::from_str(&to_string(&value).unwrap()).unwrap();
            assert_eq!(read, value);
        }
    }

    #[test]
    fn numbers_and_booleans_stay_what_they_are() {
        let value =
            json!({ "on": true, "n": 3, "f": 1.5, "none": null, "empty": {}, "list": [], "big": i64::MAX });
        let read: Value = serde_yaml::from_str(&to_string(&value).unwrap()).unwrap();
        assert_eq!(read, value);
    }
}
