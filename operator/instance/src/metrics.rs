//! The member's figures for Prometheus, set from each report.
//! Must not have a label whose values are not the cases of an enum.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use kit::http::Answer;
use kit::metrics::{By, Label, answer, durations, registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use topology::assignment::Role;
use topology::report::{Process, Report, ServerSeen, TroubleKind};

type Number = Gauge<f64, AtomicU64>;

macro_rules! labels {
    ($name:ident $label:literal { $($case:ident $value:literal,)* }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        enum $name { $($case,)* }

        impl $name {
            const ALL: &[$name] = &[$($name::$case,)*];
        }

        impl Label for $name {
            const NAME: &'static str = $label;
            fn value(&self) -> &'static str {
                match self { $($name::$case => $value,)* }
            }
        }
    };
}

labels!(RoleLabel "role" {
    None "none", Hold "hold", Found "found", Primary "primary", Retire "retire", Replica "replica", Clone "clone",
});

labels!(ProcessLabel "state" {
    Unassigned "unassigned", Initialising "initialising", Starting "starting", Running "running",
    Cloning "cloning", Ended "ended", Stopping "stopping",
});

labels!(TroubleLabel "kind" {
    ImageUnfit "image_unfit", DoesNotStart "does_not_start", ParameterRefused "parameter_refused",
    InitialisationFailed "initialisation_failed", CloneFailed "clone_failed",
    Unresponsive "unresponsive", ReplicationBroken "replication_broken",
    AwaitingAcknowledgements "awaiting_acknowledgements", DiskFull "disk_full", VolumeFails "volume_fails",
    CredentialsRefused "credentials_refused", FilesMissing "files_missing",
    AccountsFailed "accounts_failed", Other "other",
});

fn role(report: &Report) -> RoleLabel {
    match report.assignment.as_ref().map(|assignment| &assignment.role) {
        None => RoleLabel::None,
        Some(Role::Hold) => RoleLabel::Hold,
        Some(Role::Found) => RoleLabel::Found,
        Some(Role::Primary { .. }) => RoleLabel::Primary,
        Some(Role::Retire) => RoleLabel::Retire,
        Some(Role::Replica { .. }) => RoleLabel::Replica,
        Some(Role::Clone { .. }) => RoleLabel::Clone,
    }
}

fn process(report: &Report) -> ProcessLabel {
    match report.process {
        Process::Unassigned => ProcessLabel::Unassigned,
        Process::Initialising => ProcessLabel::Initialising,
        Process::Starting => ProcessLabel::Starting,
        Process::Running => ProcessLabel::Running,
        Process::Cloning { .. } => ProcessLabel::Cloning,
        Process::Ended { .. } => ProcessLabel::Ended,
        Process::Stopping => ProcessLabel::Stopping,
    }
}

fn trouble(kind: TroubleKind) -> TroubleLabel {
    match kind {
        TroubleKind::ImageUnfit => TroubleLabel::ImageUnfit,
        TroubleKind::DoesNotStart => TroubleLabel::DoesNotStart,
        TroubleKind::ParameterRefused => TroubleLabel::ParameterRefused,
        TroubleKind::InitialisationFailed => TroubleLabel::InitialisationFailed,
        TroubleKind::CloneFailed => TroubleLabel::CloneFailed,
        TroubleKind::Unresponsive => TroubleLabel::Unresponsive,
        TroubleKind::ReplicationBroken => TroubleLabel::ReplicationBroken,
        TroubleKind::AwaitingAcknowledgements => TroubleLabel::AwaitingAcknowledgements,
        TroubleKind::DiskFull => TroubleLabel::DiskFull,
        TroubleKind::VolumeFails => TroubleLabel::VolumeFails,
        TroubleKind::CredentialsRefused => TroubleLabel::CredentialsRefused,
        TroubleKind::FilesMissing => TroubleLabel::FilesMissing,
        TroubleKind::AccountsFailed => TroubleLabel::AccountsFailed,
        TroubleKind::Other => TroubleLabel::Other,
    }
}

/// A name, a unit where there is one, and the words for people.
macro_rules! metrics {
    ($($field:ident: $type:ty = $new:expr, $name:literal $(in $unit:ident)?, $help:literal;)*) => {
        /// Everything that is registered.
        pub(crate) struct Metrics {
            registry: Registry,
            $($field: $type,)*
        }

        impl Metrics {
            pub(crate) fn new() -> Self {
                let mut registry = registry();
                $(
                    let $field: $type = $new;
                    metrics!(@register registry, $name, $help, $field $(, $unit)?);
                )*
                Self { registry, $($field,)* }
            }
        }
    };
    (@register $registry:ident, $name:literal, $help:literal, $field:ident) => {
        $registry.register($name, $help, $field.clone())
    };
    (@register $registry:ident, $name:literal, $help:literal, $field:ident, $unit:ident) => {
        $registry.register_with_unit($name, $help, Unit::$unit, $field.clone())
    };
}

metrics! {
    role: Family<By<RoleLabel>, Gauge> = Family::default(), "member_role", "What it is assigned to be";
    process: Family<By<ProcessLabel>, Gauge> = Family::default(), "member_mysqld", "What mysqld does";
    troubles: Family<By<TroubleLabel>, Gauge> = Family::default(), "member_troubles",
        "What keeps it from its assignment";
    epoch: Gauge = Gauge::default(), "member_epoch", "The epoch of its assignment";
    is_settled: Gauge = Gauge::default(), "member_settled", "Its assignment is in force";
    is_open: Gauge = Gauge::default(), "member_open", "Clients may write";
    lag: Number = Number::default(), "replication_lag" in Seconds, "Behind the primary";
    unapplied: Gauge = Gauge::default(), "replication_unapplied_transactions",
        "Received and not applied: what is left to do before it could open as primary";
    is_receiving: Gauge = Gauge::default(), "replication_receiving", "Connected to its source";
    is_applying: Gauge = Gauge::default(), "replication_applying", "Its applier runs";
    is_acknowledging: Gauge = Gauge::default(), "replication_acknowledging",
        "It acknowledges what it receives";
    waits_for: Gauge = Gauge::default(), "semi_sync_waits_for",
        "Replicas that must acknowledge a commit; 0: it does not wait";
    acknowledging: Gauge = Gauge::default(), "semi_sync_replicas", "Attached replicas that acknowledge";
    has_waiters: Gauge = Gauge::default(), "semi_sync_waiting", "Some commit waits for acknowledgements";
    executed: Gauge = Gauge::default(), "transactions_executed", "Transactions in the data";
    age: Number = Number::default(), "mysqld_facts_age" in Seconds, "Since mysqld answered";
    disk_total: Gauge = Gauge::default(), "disk_size" in Bytes, "The volume";
    disk_free: Gauge = Gauge::default(), "disk_free" in Bytes, "Free on the volume";
    put_back: Counter = Counter::default(), "settings_put_back", "Safety settings that were put back";
    restarts: Counter = Counter::default(), "mysqld_restarts", "Ends of mysqld nobody asked for";
    beats: Histogram = durations(), "heartbeat" in Seconds, "Until a heartbeat was committed";
    waiting: Number = Number::default(), "heartbeat_waiting" in Seconds,
        "How long the heartbeat has been waiting that was not committed yet";
}

impl Metrics {
    pub(crate) fn answer(&self) -> Answer {
        answer(&self.registry)
    }

    pub(crate) fn beat(&self, took: Duration) {
        self.beats.observe(took.as_secs_f64());
    }

    pub(crate) fn restarted(&self) {
        self.restarts.inc();
    }

    pub(crate) fn put_back(&self, settings: usize) {
        self.put_back.inc_by(settings as u64);
    }

    pub(crate) fn set(&self, report: &Report, waiting: Option<Duration>) {
        let (role, process) = (role(report), process(report));
        for label in RoleLabel::ALL {
            self.role
                .get_or_create(&By(*label))
                .set(i64::from(*label == role));
        }
        for label in ProcessLabel::ALL {
            self.process
                .get_or_create(&By(*label))
                .set(i64::from(*label == process));
        }
        for label in TroubleLabel::ALL {
            let count = report
                .troubles
                .iter()
                .filter(|known| trouble(known.kind) == *label)
                .count();
            self.troubles.get_or_create(&By(*label)).set(count as i64);
        }
        let assignment = report.assignment.as_ref();
        let epoch = assignment.map_or(0, |assignment| assignment.term().epoch);
        self.epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
        self.is_settled.set(i64::from(report.is_settled));
        self.age.set(seconds(report.server_age_ms));
        self.waiting.set(waiting.unwrap_or_default().as_secs_f64());
        let server = report.server.as_ref();
        let follows = server.and_then(|server| server.follows.as_ref());
        self.is_open
            .set(i64::from(server.is_some_and(|server| server.is_open)));
        self.lag
            .set(server.and_then(|server| server.lag_ms).map_or(f64::NAN, seconds));
        let unapplied = server.map_or(0, ServerSeen::unapplied);
        self.unapplied.set(i64::try_from(unapplied).unwrap_or(i64::MAX));
        self.is_receiving
            .set(i64::from(follows.is_some_and(|follows| follows.is_receiving)));
        self.is_applying
            .set(i64::from(follows.is_some_and(|follows| follows.is_applying)));
        self.is_acknowledging
            .set(i64::from(follows.is_some_and(|follows| follows.acknowledges)));
        let waits_for = server.and_then(|server| server.waits_for).unwrap_or(0);
        self.waits_for.set(i64::from(waits_for));
        self.acknowledging
            .set(server.map_or(0, |server| i64::from(server.acknowledging)));
        self.has_waiters
            .set(i64::from(server.is_some_and(|server| server.has_waiters)));
        let executed = server.map_or(0, |server| server.executed.count());
        self.executed.set(i64::try_from(executed).unwrap_or(i64::MAX));
        if let Some(disk) = report.disk {
            self.disk_total
                .set(i64::try_from(disk.total_bytes).unwrap_or(i64::MAX));
            self.disk_free
                .set(i64::try_from(disk.free_bytes).unwrap_or(i64::MAX));
        }
    }
}

fn seconds(milliseconds: u64) -> f64 {
    Duration::from_millis(milliseconds).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use kit::metrics::in_order;
    use topology::report::Disk;

    use super::*;
    use crate::agent;

    #[test]
    fn every_figure_has_a_name_and_a_help_text() {
        let metrics = Metrics::new();
        let mut report = agent::first_report("db-0");
        report.disk = Some(Disk {
            total_bytes: 10 << 30,
            free_bytes: 4 << 30,
        });
        metrics.set(&report, None);
        metrics.beat(Duration::from_millis(3));
        insta::assert_snapshot!(in_order(&metrics.answer().body));
    }

    #[test]
    fn figures_are_named_and_labelled() {
        let metrics = Metrics::new();
        let report = agent::first_report("db-0");
        metrics.set(&report, None);
        metrics.beat(Duration::from_millis(3));
        metrics.restarted();
        metrics.put_back(2);
        let text = metrics.answer().body;
        for line in [
            "holdfast_member_role{role=\"none\"} 1",
            "holdfast_member_role{role=\"primary\"} 0",
            "holdfast_member_mysqld{state=\"unassigned\"} 1",
            "holdfast_replication_lag_seconds NaN",
            "holdfast_mysqld_restarts_total 1",
            "holdfast_settings_put_back_total 2",
            "holdfast_heartbeat_seconds_count 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
