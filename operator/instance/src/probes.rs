//! What kubelet and Prometheus ask: is the agent alive, may clients come, what are the figures.
//! Must not let liveness depend on mysqld, replication, the controller or the API server.

use std::sync::Arc;

use agent_api::server::Sampled;
use kit::http::Answer;
use tokio::sync::watch;
use topology::report::Report;

use crate::metrics::Metrics;

/// A replica further behind serves no reads.
const LAG_LIMIT_MS: u64 = 10_000;
/// Facts that are older say nothing about now.
const AGE_LIMIT_MS: u64 = 10_000;

pub(crate) fn handler(
    reports: watch::Receiver<Arc<Sampled>>,
    metrics: Arc<Metrics>,
) -> impl Fn(&str) -> Answer + Send + Sync + 'static {
    move |path| match path {
        // Whoever answers is alive: one thread does everything.
        "/livez" => Answer::text(200, "alive\n"),
        "/readyz" => match readiness(&reports.borrow().report) {
            Ok(()) => Answer::text(200, "ready\n"),
            Err(why) => Answer::text(503, format!("{why}\n")),
        },
        "/metrics" => metrics.answer(),
        _ => Answer::not_found(),
    }
}

/// Why no client should come.
fn readiness(report: &Report) -> Result<(), String> {
    let Some(server) = &report.server else {
        return Err("mysqld does not answer".into());
    };
    if report.server_age_ms > AGE_LIMIT_MS {
        return Err(format!("mysqld has not answered for {} ms", report.server_age_ms));
    }
    if server.is_open {
        return Ok(());
    }
    let Some(follows) = &server.follows else {
        return Err("neither an open primary nor a replica".into());
    };
    match server.lag_ms {
        _ if !follows.is_receiving => Err("not receiving".into()),
        _ if !follows.is_applying => Err("not applying".into()),
        Some(lag) if lag < LAG_LIMIT_MS => Ok(()),
        Some(lag) => Err(format!("{lag} ms behind")),
        None => Err("no heartbeat of a primary yet".into()),
    }
}

#[cfg(test)]
mod tests {
    use topology::report::{Follows, ServerSeen};

    use super::*;
    use crate::agent;

    fn replica(is_receiving: bool, lag_ms: Option<u64>) -> Report {
        let mut report = agent::first_report("db-0");
        report.server = Some(ServerSeen {
            incarnation: topology::gtid::Uuid::from_bytes([1; 16]),
            version: "9.7.4".into(),
            executed: Default::default(),
            purged: Default::default(),
            received: Default::default(),
            is_open: false,
            has_waiters: false,
            acknowledging: 0,
            waits_for: None,
            follows: Some(Follows {
                host: "db-1".into(),
                port: 3306,
                is_receiving,
                is_applying: true,
                acknowledges: true,
                is_unreached: false,
                silence_ms: 0,
                failure: None,
            }),
            lag_ms,
            beat: None,
        });
        report
    }

    #[test]
    fn clients_come_to_an_open_primary_or_a_replica_that_keeps_up() {
        assert!(readiness(&agent::first_report("db-0")).is_err());
        assert_eq!(readiness(&replica(true, Some(900))), Ok(()));
        assert!(readiness(&replica(true, Some(10_000))).is_err());
        assert!(readiness(&replica(true, None)).is_err());
        assert!(readiness(&replica(false, Some(0))).is_err());
        let mut open = replica(false, None);
        open.server_age_ms = 10_001;
        assert!(readiness(&open).is_err());
        open.server_age_ms = 0;
        if let Some(server) = &mut open.server {
            server.is_open = true;
            server.follows = None;
        }
        assert_eq!(readiness(&open), Ok(()));
        if let Some(server) = &mut open.server {
            server.is_open = false;
        }
        assert!(readiness(&open).is_err());
    }
}
