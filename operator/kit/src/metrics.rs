//! What every set of metrics needs: a registry, buckets, and labels that cannot grow.
//! Must not name a metric.

use std::fmt;
use std::hash::Hash;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::http::Answer;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const DURATION_BUCKETS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// All metrics are called `holdfast_…`.
pub fn registry() -> Registry {
    Registry::with_prefix("holdfast")
}

/// The registry as an answer to a scrape.
pub fn answer(registry: &Registry) -> Answer {
    let mut body = String::new();
    match encode(&mut body, registry) {
        Ok(()) => Answer {
            status: 200,
            content_type: CONTENT_TYPE,
            body,
        },
        Err(_) => Answer::text(500, "failed to encode the metrics\n"),
    }
}

/// The same text whatever the order of the label sets was, for those who compare it: each child of a family is
/// kept together.
pub fn in_order(text: &str) -> String {
    let mut families: Vec<(Vec<&str>, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match families.last_mut() {
            Some((_, lines)) if !line.starts_with('#') => lines.push(line),
            Some((about, lines)) if lines.is_empty() => about.push(line),
            _ => families.push((vec![line], Vec::new())),
        }
    }
    let mut sorted = String::new();
    for (about, mut lines) in families {
        lines.sort_by_key(|line| child(line));
        for line in about.iter().chain(&lines) {
            sorted.push_str(line);
            sorted.push('\n');
        }
    }
    sorted
}

/// Its labels, but for that of the bucket.
fn child(line: &str) -> String {
    let labels = line.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let labels = labels.map_or("", |(labels, _)| labels).split(',');
    let labels: Vec<_> = labels.filter(|label| !label.starts_with("le=")).collect();
    labels.join(",")
}

/// Seconds, from a millisecond to a minute. For `Family::new_with_constructor`, too.
pub fn durations() -> Histogram {
    Histogram::new(DURATION_BUCKETS)
}

/// A label whose values are the cases of an enum: `Family<By<Kind>, Counter>`.
pub trait Label: Clone + fmt::Debug + Eq + Hash + Send + Sync + 'static {
    const NAME: &'static str;
    fn value(&self) -> &'static str;
}

/// One label. Two are a pair: `(By<A>, By<B>)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct By<L>(pub L);

impl<L: Label> EncodeLabelSet for By<L> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        [(L::NAME, self.0.value())].encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    enum Outcome {
        Done,
        Failed,
    }

    impl Label for Outcome {
        const NAME: &'static str = "outcome";
        fn value(&self) -> &'static str {
            match self {
                Self::Done => "done",
                Self::Failed => "failed",
            }
        }
    }

    #[test]
    fn children_are_put_in_order_and_kept_together() {
        let text = "# TYPE a histogram\na_sum{k=\"y\"} 1\na_bucket{le=\"1\",k=\"y\"} 1\n\
                    a_sum{k=\"x\"} 1\na_bucket{le=\"1\",k=\"x\"} 1\n# TYPE b gauge\nb 1\n# EOF\n";
        let wanted = "# TYPE a histogram\na_sum{k=\"x\"} 1\na_bucket{le=\"1\",k=\"x\"} 1\n\
                      a_sum{k=\"y\"} 1\na_bucket{le=\"1\",k=\"y\"} 1\n# TYPE b gauge\nb 1\n# EOF\n";
        assert_eq!(in_order(text), wanted);
    }

    #[test]
    fn counts_and_durations_come_out_as_text() {
        let mut registry = registry();
        let steps = Family::<By<Outcome>, Counter>::default();
        registry.register("steps", "Steps that were tried", steps.clone());
        let pairs = Family::<(By<Outcome>, By<Outcome>), Counter>::default();
        registry.register("pairs", "Two labels", pairs.clone());
        let took = durations();
        registry.register("step_seconds", "How long a step took", took.clone());
        steps.get_or_create(&By(Outcome::Done)).inc();
        pairs
            .get_or_create(&(By(Outcome::Done), By(Outcome::Failed)))
            .inc();
        took.observe(0.02);

        let answer = answer(&registry);
        assert_eq!((answer.status, answer.content_type), (200, CONTENT_TYPE));
        for line in [
            "# TYPE holdfast_steps counter",
            "holdfast_steps_total{outcome=\"done\"} 1",
            "holdfast_pairs_total{outcome=\"done\",outcome=\"failed\"} 1",
            "holdfast_step_seconds_bucket{le=\"0.01\"} 0",
            "holdfast_step_seconds_bucket{le=\"0.025\"} 1",
            "# EOF",
        ] {
            assert!(
                answer.body.lines().any(|found| found == line),
                "{line} in {}",
                answer.body
            );
        }
    }
}
