//! One row of an answer as text, and its typed columns.
//! Must not panic on what a server sends: a column that is missing or odd is a wrong answer.

use std::str::FromStr;

use mysql_async::Value;

use crate::Error;

/// Columns in the order of the statement; the text protocol sends everything as text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    doing: &'static str,
    columns: Vec<(String, Option<String>)>,
}

impl Row {
    pub(crate) fn new(doing: &'static str, row: mysql_async::Row) -> Result<Self, Error> {
        let names: Vec<String> = row
            .columns_ref()
            .iter()
            .map(|column| column.name_str().into_owned())
            .collect();
        let mut columns = Vec::with_capacity(names.len());
        for (at, name) in names.into_iter().enumerate() {
            let text = match row.as_ref(at) {
                None | Some(Value::NULL) => None,
                Some(Value::Bytes(bytes)) => match String::from_utf8(bytes.clone()) {
                    Ok(text) => Some(text),
                    Err(_) => return Err(Error::wrong(doing, format!("{name} is not UTF-8"))),
                },
                Some(_) => return Err(Error::wrong(doing, format!("{name} is not text"))),
            };
            columns.push((name, text));
        }
        Ok(Self { doing, columns })
    }

    #[cfg(test)]
    pub(crate) fn of(columns: &[(&str, Option<&str>)]) -> Self {
        let columns = columns.iter();
        Self {
            doing: "test",
            columns: columns
                .map(|(name, text)| ((*name).to_owned(), text.map(str::to_owned)))
                .collect(),
        }
    }

    fn wrong(&self, name: &str, what: &str) -> Error {
        Error::wrong(self.doing, format!("{name} {what}"))
    }

    /// NULL is `None`; a column that is not there is an error. Case does not matter.
    pub(crate) fn maybe(&self, name: &str) -> Result<Option<&str>, Error> {
        let column = self
            .columns
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        column
            .map(|(_, text)| text.as_deref())
            .ok_or_else(|| self.wrong(name, "is missing"))
    }

    pub(crate) fn text(&self, name: &str) -> Result<&str, Error> {
        self.maybe(name)?.ok_or_else(|| self.wrong(name, "is NULL"))
    }

    pub(crate) fn parse<T: FromStr>(&self, name: &str) -> Result<T, Error> {
        let text = self.text(name)?;
        text.parse()
            .map_err(|_| self.wrong(name, &format!("is {:?}", shortened(text))))
    }

    pub(crate) fn parse_maybe<T: FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        match self.maybe(name)? {
            None => Ok(None),
            Some(_) => self.parse(name).map(Some),
        }
    }

    /// An empty text counts as nothing, as in `APPLYING_TRANSACTION`.
    pub(crate) fn some_text(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(self
            .maybe(name)?
            .filter(|text| !text.is_empty())
            .map(str::to_owned))
    }

    /// 0, 1, ON, OFF, YES, NO.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Error> {
        let text = self.text(name)?;
        flag(text).ok_or_else(|| self.wrong(name, &format!("is {:?}", shortened(text))))
    }
}

pub(crate) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_uppercase().as_str() {
        "1" | "ON" | "YES" => Some(true),
        "0" | "OFF" | "NO" => Some(false),
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_typed() {
        let row = Row::of(&[("a", Some("12")), ("B", None), ("c", Some("ON")), ("d", Some(""))]);
        assert_eq!(row.parse::<u64>("A").unwrap(), 12);
        assert_eq!(row.maybe("b").unwrap(), None);
        assert_eq!(row.parse_maybe::<u64>("b").unwrap(), None);
        assert!(row.flag("c").unwrap());
        assert_eq!(row.some_text("d").unwrap(), None);
        for (error, wanted) in [
            (
                row.text("z").unwrap_err(),
                "failed to test: wrong answer: z is missing",
            ),
            (
                row.text("b").unwrap_err(),
                "failed to test: wrong answer: b is NULL",
            ),
            (
                row.parse::<u64>("c").unwrap_err(),
                "failed to test: wrong answer: c is \"ON\"",
            ),
            (
                row.flag("a").unwrap_err(),
                "failed to test: wrong answer: a is \"12\"",
            ),
        ] {
            assert_eq!(error.to_string(), wanted);
        }
    }
}
