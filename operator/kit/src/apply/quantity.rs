//! Quantities of Kubernetes, as far as telling whether two are the same amount.
//! Must not round: what cannot be compared exactly is not the same.

/// The keys of maps whose values are quantities, and of values that are.
const MAPS: &[&str] = &["limits", "requests"];
const VALUES: &[&str] = &["divisor", "sizeLimit"];

/// Whether what stands at `key` below `parent` is one, in the objects of the core API.
pub(super) fn is_one(parent: &str, key: &str) -> bool {
    MAPS.contains(&parent) || VALUES.contains(&key)
}

pub(super) fn is_same(left: &str, right: &str) -> bool {
    nanos(left).is_some_and(|left| Some(left) == nanos(right))
}

/// The smallest unit there is.
fn nanos(text: &str) -> Option<i128> {
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let number_ends = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, suffix) = text.split_at(number_ends.unwrap_or(text.len()));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let (binary, decimal) = scale(suffix)?;
    // Nine for nano, less one for each digit behind the point.
    let places = decimal + 9 - i32::try_from(fraction.len()).ok()?;
    let scaled = digits.checked_mul(1024_i128.checked_pow(binary)?)?;
    let power = 10_i128.checked_pow(places.unsigned_abs())?;
    let amount = if places >= 0 {
        scaled.checked_mul(power)?
    } else if scaled % power == 0 {
        scaled / power
    } else {
        return None;
    };
    Some(if is_negative { -amount } else { amount })
}

/// Powers of 1024 and of 10.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    let decimal = match suffix {
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "" => 0,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        "Ki" => return Some((1, 0)),
        "Mi" => return Some((2, 0)),
        "Gi" => return Some((3, 0)),
        "Ti" => return Some((4, 0)),
        "Pi" => return Some((5, 0)),
        "Ei" => return Some((6, 0)),
        exponent => exponent.strip_prefix(['e', 'E'])?.parse().ok()?,
    };
    // Beyond what a quantity can hold; also keeps the arithmetic from overflowing.
    (-30..=30).contains(&decimal).then_some((0, decimal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_amount_has_many_spellings() {
        for (left, right) in [
            ("1024Mi", "1Gi"),
            ("1000m", "1"),
            ("0.1", "100m"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
            ("1E3", "1000"),
            ("1E", "1000P"),
            ("+5", "5.0"),
            (".5", "500m"),
            ("-1", "-1000m"),
            ("1000n", "1u"),
            ("0", "0Gi"),
            ("8Ei", "8192Pi"),
            ("0.5e1", "5"),
        ] {
            assert!(is_same(left, right) && is_same(right, left), "{left} {right}");
        }
    }

    #[test]
    fn other_amounts_and_other_words_are_not_the_same() {
        for (left, right) in [
            ("1G", "1Gi"),
            ("1", "1m"),
            ("1", "-1"),
            ("", ""),
            ("a", "a"),
            ("1x", "1x"),
            ("1 ", "1"),
            ("1..0", "1"),
            ("1.0.0", "1"),
            (".", "."),
            ("1e", "1e"),
            ("1e999999999999", "1"),
            ("1e-200", "0"),
            ("0.0000000001", "0"),
            ("99999999999999999999999999999999999999Ei", "1"),
            ("ü", "ü"),
        ] {
            assert!(!is_same(left, right), "{left} {right}");
        }
    }

    #[test]
    fn quantities_are_known_by_their_place() {
        assert!(is_one("requests", "storage") && is_one("limits", "cpu") && is_one("emptyDir", "sizeLimit"));
        assert!(!is_one("data", "requests") && !is_one("data", "limits") && !is_one("", "name"));
    }
}
