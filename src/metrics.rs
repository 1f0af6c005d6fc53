//! Every metric of this program: its name, its kind and its description. docs/operations.md has the same list, and a test
//! compares the two.

pub(crate) use metrics::Label;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Only grows. Counters begin at 0, so that the first increment shows as one.
#[derive(Debug)]
pub(crate) struct Counter(&'static str);

/// A counter that is kept apart by the value of one label.
#[derive(Debug)]
pub(crate) struct LabelledCounter(&'static str);

/// Goes up and down.
#[derive(Debug)]
pub(crate) struct Gauge(&'static str);

/// A distribution.
#[derive(Debug)]
pub(crate) struct Histogram(&'static str);

/// A metric, as the documentation lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// What Prometheus calls it.
    pub name: &'static str,
    /// `Counter`, `Gauge` or `Histogram`.
    pub kind: &'static str,
    /// One line about it.
    pub text: &'static str,
}

macro_rules! metrics {
    ($($kind:ident $constant:ident = $name:literal, $text:literal;)*) => {
        $(#[doc = $text] pub(crate) const $constant: $kind = $kind($name);)*

        /// All of them.
        pub const ALL: &[Description] =
            &[$(Description { name: $name, kind: $kind::KIND, text: $text },)*];

        /// Describes each metric to the recorder.
        pub(crate) fn describe() {
            $($constant.describe($text);)*
        }
    };
}

metrics! {
    Gauge QUEUES = "discussions_queues", "Queues on this node";
    Gauge USERS = "discussions_users", "Users with queues on this node";
    Gauge PARKED_POLLS = "discussions_parked_polls", "Polls that wait on this node";
    Gauge LOG_EVENTS = "discussions_log_events", "Events kept in memory";
    Gauge LOG_BYTES = "discussions_log_bytes", "Bytes of the events kept in memory";
    Gauge HEAD = "discussions_head", "The newest event_id on this node";
    Gauge OUTBOX_WAITING = "discussions_outbox_waiting", "Outbox rows not yet relayed";
    Gauge OUTBOX_OLDEST = "discussions_outbox_oldest_seconds", "Age of the oldest outbox row not yet relayed";
    Gauge POOL_CONNECTIONS = "discussions_pool_connections", "Connections of the request pool";
    Gauge POOL_IDLE = "discussions_pool_idle", "Connections of the request pool that nobody uses";
    Gauge POOL_LIMIT = "discussions_pool_limit", "The most connections that the request pool may have";
    Gauge FEED_ON_REDIS = "discussions_feed_on_redis", "1 while the feed reads Redis, 0 while it reads PostgreSQL";
    Histogram WRITE_TO_WAKE = "discussions_write_to_wake_seconds", "From an event's outbox row to its wake-ups on this node";
    Histogram REQUESTS = "discussions_request_seconds", "Requests other than polls, by method, route and status";
    Counter DELIVERIES = "discussions_deliveries_total", "Parked polls answered with an event";
    Counter CATCHUPS = "discussions_catchups_total", "Polls answered with catchup_required";
    Counter QUEUES_EXPIRED = "discussions_queues_expired_total", "Queues deleted because no heartbeat came";
    Counter RELAYED_EVENTS = "discussions_relayed_events_total", "Events numbered by this node's relay";
    Counter LEAPS = "discussions_leaps_total", "Times that this node went on in another history of events";
    LabelledCounter REFUSALS = "discussions_refusals_total", "Requests refused with 429, by limit";
    Counter SLOW_READERS = "discussions_slow_readers_total", "Connections closed because their clients did not read";
    Counter EVICTED_CONNECTIONS = "discussions_evicted_connections_total", "Connections without a request closed to make room for others";
    Counter FEED_GAP_FILLS = "discussions_feed_gap_fills_total", "Times that the feed read from PostgreSQL what its source left out";
}

impl Counter {
    const KIND: &str = "Counter";

    pub(crate) fn increment(&self, by: u64) {
        counter!(self.0).increment(by);
    }

    fn describe(&self, text: &'static str) {
        describe_counter!(self.0, text);
        self.increment(0);
    }
}

impl LabelledCounter {
    const KIND: &str = "Counter";

    /// Increments the counter with this label. An increment by 0 makes it appear.
    pub(crate) fn increment(&self, label: &'static str, value: &'static str, by: u64) {
        counter!(self.0, label => value).increment(by);
    }

    fn describe(&self, text: &'static str) {
        describe_counter!(self.0, text);
    }
}

impl Gauge {
    const KIND: &str = "Gauge";

    pub(crate) fn set(&self, value: f64) {
        gauge!(self.0).set(value);
    }

    fn describe(&self, text: &'static str) {
        describe_gauge!(self.0, text);
    }
}

impl Histogram {
    const KIND: &str = "Histogram";

    pub(crate) fn record(&self, value: f64) {
        histogram!(self.0).record(value);
    }

    pub(crate) fn record_labelled(&self, labels: Vec<Label>, value: f64) {
        histogram!(self.0, labels).record(value);
    }

    fn describe(&self, text: &'static str) {
        describe_histogram!(self.0, text);
    }
}
