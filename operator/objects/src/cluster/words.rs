//! What Kubernetes takes as a name, a label, an image: the shapes that its API checks.
//! Must not say what to do about it: the reader of the field does.

const LABEL_LIMIT: usize = 63;
const SUBDOMAIN_LIMIT: usize = 253;

fn is_lower(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit()
}

/// RFC 1123: letters, digits and dashes, no dash at the ends.
pub(super) fn is_dns_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LABEL_LIMIT
        && text.chars().all(|letter| is_lower(letter) || letter == '-')
        && text.starts_with(is_lower)
        && text.ends_with(is_lower)
}

/// Labels with dots between them. Kubernetes bounds the whole only.
pub(super) fn is_dns_subdomain(text: &str) -> bool {
    let is_part = |part: &str| {
        part.chars().all(|letter| is_lower(letter) || letter == '-')
            && part.starts_with(is_lower)
            && part.ends_with(is_lower)
    };
    text.len() <= SUBDOMAIN_LIMIT && text.split('.').all(is_part)
}

/// The value of a label: may be empty.
pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_word(text)
}

fn is_label_word(text: &str) -> bool {
    let is_inner = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    text.len() <= LABEL_LIMIT
        && text.chars().all(is_inner)
        && text.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && text.ends_with(|letter: char| letter.is_ascii_alphanumeric())
}

/// The key of a label, taint or annotation: a word, with a domain before it or not.
pub(super) fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, word)) => is_dns_subdomain(domain) && is_label_word(word),
        None => is_label_word(text),
    }
}

/// `[host[:port]/]path[:tag][@sha256:…]`, as container runtimes read it.
pub(super) fn is_image(text: &str) -> bool {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if !digest.is_none_or(is_digest) {
        return false;
    }
    let after_slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (path, tag) = match rest[after_slash..].find(':') {
        Some(at) => (&rest[..after_slash + at], Some(&rest[after_slash + at + 1..])),
        None => (rest, None),
    };
    if !tag.is_none_or(is_tag) {
        return false;
    }
    // The first part is a host if it cannot be anything else.
    let is_host_like = |part: &str| {
        part.contains(|letter: char| matches!(letter, '.' | ':') || letter.is_ascii_uppercase())
            || part == "localhost"
    };
    let path = match path.split_once('/') {
        Some((host, path)) if is_host_like(host) => {
            if !is_host(host) {
                return false;
            }
            path
        }
        _ => path,
    };
    path.split('/').all(is_path_part)
}

fn is_digest(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64
        && hex
            .chars()
            .all(|digit| digit.is_ascii_digit() || matches!(digit, 'a'..='f'))
}

fn is_tag(text: &str) -> bool {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    (1..=128).contains(&text.len())
        && text.starts_with(is_word)
        && text
            .chars()
            .all(|letter| is_word(letter) || matches!(letter, '.' | '-'))
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let is_part = |part: &str| {
        let is_end = |letter: char| letter.is_ascii_alphanumeric();
        part.starts_with(is_end)
            && part.ends_with(is_end)
            && part.chars().all(|letter| is_end(letter) || letter == '-')
    };
    name.split('.').all(is_part) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Lower case; between two letters at most one dot, one or two underscores, or dashes.
fn is_path_part(text: &str) -> bool {
    if !text.starts_with(is_lower) || !text.ends_with(is_lower) {
        return false;
    }
    let separators = text.split(is_lower).filter(|between| !between.is_empty());
    let is_separator =
        |between: &str| matches!(between, "." | "_" | "__") || between.chars().all(|letter| letter == '-');
    separators.into_iter().all(is_separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read_as_runtimes_read_them() {
        let digest = format!("mysql@sha256:{}", "0".repeat(64));
        for good in [
            "mysql",
            "mysql:9.7",
            "mysql:9.7.4",
            "registry.example.com:5000/mysql/server:9.7.4",
            "localhost/mysql",
            "localhost:5000/a__b/c-d--e/f.g:X_1",
            "Registry/mysql",
            &digest,
            &digest.replace('@', ":9.7@"),
        ] {
            assert!(is_image(good), "{good}");
        }
        for bad in [
            "",
            "MySQL",
            "mysql:",
            "mysql:-x",
            "mysql:9:7",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "a-",
            "a._b",
            "host:port/a",
            "h.:1/a",
            ":9.7",
            "mysql@sha256:00",
            "mysql@md5:00",
            "a b",
            "registry/MySQL",
        ] {
            assert!(!is_image(bad), "{bad}");
        }
    }

    #[test]
    fn keys_and_values_of_labels_are_told() {
        for good in ["a", "A_b.c-d", "example.com/x", "node.kubernetes.io/not-ready"] {
            assert!(is_qualified_name(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a/b/c",
            "-a",
            "a-",
            "Example.com/a",
            "a b",
            "a..b/c",
        ] {
            assert!(!is_qualified_name(bad), "{bad}");
        }
        assert!(
            is_label_value("") && is_label_value("a.B-1") && !is_label_value("-") && !is_label_value("ü")
        );
        assert!(!is_label_value(&"a".repeat(64)));
        assert!(is_dns_label("a-1") && !is_dns_label("a.b") && !is_dns_label("") && !is_dns_label("A"));
        assert!(is_dns_subdomain("a.b-c") && !is_dns_subdomain("a..b") && !is_dns_subdomain("a.-b"));
    }
}
