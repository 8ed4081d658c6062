//! Quantities of Kubernetes as whole bytes and thousandths of a processor, and back.
//! Must not lose an amount: what falls between two units is rounded up, as Kubernetes does.

/// Far longer than any pattern of the API lets through; keeps the arithmetic in its type.
const LENGTH_LIMIT: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("failed to read the quantity: it is a number with a unit, such as 10Gi or 500m")]
    NotOne,
    #[error("failed to read the quantity: it is more than any machine has")]
    TooLarge,
}

/// Powers of ten and of 1024, by their suffix. Sub-units but `m` are of no use here.
const DECIMAL: &[(&str, u32)] = &[
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: &[(&str, u32)] = &[("Ki", 1), ("Mi", 2), ("Gi", 3), ("Ti", 4), ("Pi", 5), ("Ei", 6)];

/// Memory and storage: `10Gi` is 10,737,418,240.
pub fn bytes(text: &str) -> Result<u64, Error> {
    let thousandths = thousandths(text)?;
    whole(thousandths.div_ceil(1000))
}

/// Processors: `500m` and `0.5` are 500.
pub fn millis(text: &str) -> Result<u64, Error> {
    whole(thousandths(text)?)
}

/// What Kubernetes can hold without losing digits, too.
fn whole(amount: u128) -> Result<u64, Error> {
    let is_held = i64::try_from(amount).is_ok();
    u64::try_from(amount)
        .ok()
        .filter(|_| is_held)
        .ok_or(Error::TooLarge)
}

fn thousandths(text: &str) -> Result<u128, Error> {
    if text.len() > LENGTH_LIMIT {
        return Err(Error::NotOne);
    }
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, suffix) = text.split_at(end.unwrap_or(text.len()));
    let (units, fraction) = number.split_once('.').unwrap_or((number, ""));
    if units.is_empty() || (number.contains('.') && fraction.is_empty()) {
        return Err(Error::NotOne);
    }
    let digits: u128 = format!("{units}{fraction}").parse().map_err(|_| Error::NotOne)?;
    let scale = scale_in_thousandths(suffix).ok_or(Error::NotOne)?;
    let places = u32::try_from(fraction.len()).map_err(|_| Error::NotOne)?;
    let divisor = 10_u128.checked_pow(places).ok_or(Error::TooLarge)?;
    let amount = digits.checked_mul(scale).ok_or(Error::TooLarge)?;
    Ok(amount.div_ceil(divisor))
}

fn scale_in_thousandths(suffix: &str) -> Option<u128> {
    if suffix == "m" {
        return Some(1);
    }
    let find = |table: &[(&str, u32)]| {
        table
            .iter()
            .find(|(name, _)| *name == suffix)
            .map(|found| found.1)
    };
    let decimal = find(DECIMAL).map(|power| 10_u128.pow(power));
    let binary = || find(BINARY).map(|power| 1024_u128.pow(power));
    Some(decimal.or_else(binary)? * 1000)
}

/// The shortest spelling; one for each amount, so that another spelling of it changes no object.
pub fn bytes_text(bytes: u64) -> String {
    let exact = |(suffix, unit): (&str, u64)| {
        bytes
            .is_multiple_of(unit)
            .then(|| format!("{}{suffix}", bytes / unit))
    };
    let binary = BINARY
        .iter()
        .map(|(suffix, power)| (*suffix, 1024_u64.pow(*power)));
    let decimal = DECIMAL
        .iter()
        .map(|(suffix, power)| (*suffix, 10_u64.pow(*power)));
    let texts = binary.chain(decimal).filter_map(exact);
    texts
        .filter(|text| bytes > 0 || text == "0")
        .min_by_key(String::len)
        .unwrap_or_default()
}

pub fn millis_text(millis: u64) -> String {
    if millis.is_multiple_of(1000) {
        (millis / 1000).to_string()
    } else {
        format!("{millis}m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_exactly() {
        for (text, wanted) in [
            ("0", 0),
            ("512Mi", 512 << 20),
            ("1Gi", 1 << 30),
            ("1.5Gi", 1_610_612_736),
            ("0.5Ti", 512 << 30),
            ("10G", 10_000_000_000),
            ("1P", 1_000_000_000_000_000),
            ("8191Pi", 8191 << 50),
            ("7Ei", 7 << 60),
            ("1000.001Mi", 1_048_577_049),
            ("0.001Mi", 1049),
            ("1234567890", 1_234_567_890),
            ("999999999.999G", 999_999_999_999_000_000),
        ] {
            assert_eq!(bytes(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn processors_are_read_in_thousandths() {
        for (text, wanted) in [
            ("2", 2000),
            ("0.5", 500),
            ("1.001", 1001),
            ("500m", 500),
            ("0", 0),
            ("9999.999", 9_999_999),
        ] {
            assert_eq!(millis(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "", "Gi", ".", ".5", "5.", "1..5", "1.2.3", "-1", "+1", "1e3", "1 Gi", " 1Gi", "1gi", "1Gib",
            "ü1", "1ü", "1u", "1n",
        ] {
            assert_eq!(bytes(text), Err(Error::NotOne), "{text:?}");
            assert_eq!(millis(text), Err(Error::NotOne), "{text:?}");
        }
        assert_eq!(bytes(&"9".repeat(25)), Err(Error::NotOne));
    }

    #[test]
    fn what_no_machine_has_is_refused() {
        for text in [
            "8Ei",
            "9224P",
            "999999999Pi",
            "999999999.999Ti",
            "99999999999999999999Ei",
        ] {
            assert_eq!(bytes(text), Err(Error::TooLarge), "{text}");
        }
    }

    #[test]
    fn each_amount_has_one_spelling() {
        for (amount, wanted) in [
            (0, "0"),
            (1 << 30, "1Gi"),
            (1536 << 20, "1536Mi"),
            (10_000_000_000, "10G"),
            (1000, "1k"),
            (1024, "1Ki"),
            (1023, "1023"),
            (u64::MAX, "18446744073709551615"),
        ] {
            assert_eq!(bytes_text(amount), wanted);
        }
        for same in ["2Gi", "2048Mi", "2.0Gi", "2097152Ki"] {
            assert_eq!(bytes(same).map(bytes_text).as_deref(), Ok("2Gi"), "{same}");
        }
        assert_eq!(millis_text(2000), "2");
        assert_eq!(millis_text(100), "100m");
        assert_eq!(millis_text(0), "0");
    }
}
