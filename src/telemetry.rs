//! Logs and metrics.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging to stderr. `RUST_LOG` chooses what; info and above without it.
pub fn log(format: LogFormat) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx::postgres::notice=warn"));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    // An error here is a second call in one process (tests): the first one's choice stands.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// The metrics of this process, installed once.
pub fn metrics() -> PrometheusHandle {
    static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    let start = || {
        let seconds = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds)
            .expect("the list of buckets is not empty");
        let handle = builder.install_recorder().expect("no other recorder is installed in this process");
        describe();
        handle
    };
    HANDLE.get_or_init(start).clone()
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_gauge!("discussions_queues", "Queues on this node");
    describe_gauge!("discussions_users", "Users with queues on this node");
    describe_gauge!("discussions_parked_polls", "Polls that wait on this node");
    describe_gauge!("discussions_log_events", "Events kept in memory");
    describe_gauge!("discussions_log_bytes", Unit::Bytes, "Events kept in memory");
    describe_gauge!("discussions_head", "The newest event_id on this node");
    describe_gauge!("discussions_outbox_waiting", "Outbox rows not yet relayed");
    describe_gauge!("discussions_outbox_oldest_seconds", Unit::Seconds, "Age of the oldest of those");
    describe_gauge!("discussions_pool_connections", "Connections of the request pool");
    describe_gauge!("discussions_pool_idle", "Idle ones of those");
    describe_gauge!("discussions_feed_on_redis", "1 while the feed reads Redis, 0 while it reads Postgres");
    describe_histogram!(
        "discussions_write_to_wake_seconds",
        Unit::Seconds,
        "From an event's outbox row to its wake-ups here"
    );
    describe_histogram!("discussions_request_seconds", Unit::Seconds, "Requests but polls, by route and status");
    // Counted from nought, so that the first of something is an increase and not a new series.
    let counters = [
        ("discussions_deliveries_total", "Parked polls answered with an event"),
        ("discussions_catchups_total", "Polls answered with catchup_required"),
        ("discussions_queues_expired_total", "Queues deleted for want of a heartbeat"),
        ("discussions_relayed_events_total", "Events numbered by this node's relay"),
        ("discussions_leaps_total", "Times that this node went on in another history of events"),
        ("discussions_feed_gap_fills_total", "Times that the feed read from Postgres what its source left out"),
    ];
    describe_counter!("discussions_refusals_total", "Requests refused with 429, by limit");
    for limit in crate::limits::NAMES {
        metrics::counter!("discussions_refusals_total", "limit" => limit).increment(0);
    }
    for (name, what) in counters {
        describe_counter!(name, what);
        metrics::counter!(name).increment(0);
    }
}
