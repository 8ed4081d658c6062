//! Errors as sentences for people: the whole chain, and of the API server its own words alone.
//! Must not repeat what a cause says already.

use std::error::Error;

const CAUSES_LIMIT: usize = 8;

pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    for _ in 0..CAUSES_LIMIT {
        let Some(error) = next else { break };
        let text = words(error);
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        if of_server(error).is_some() {
            break;
        }
        next = error.source();
    }
    parts.join(": ")
}

fn words(error: &(dyn Error + 'static)) -> String {
    match of_server(error) {
        Some(kube::Error::Api(status)) => status.message.clone(),
        _ => error.to_string(),
    }
}

/// In its box, as causes are kept.
fn of_server<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a kube::Error> {
    let boxed = error.downcast_ref::<Box<kube::Error>>().map(|error| &**error);
    boxed.or_else(|| error.downcast_ref::<kube::Error>())
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn the_server_is_quoted_once() {
        let status = Status::failure("exceeded quota: compute", "Forbidden").with_code(403);
        let error = crate::exact::Error {
            verb: "create",
            kind: "Pod".into(),
            name: "orders-0".into(),
            source: kube::Error::Api(status.boxed()).into(),
        };
        assert_eq!(
            chain(&error),
            "failed to create Pod orders-0: failed to have the API server do it (Forbidden): exceeded quota: compute"
        );
    }
}
