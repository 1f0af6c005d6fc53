//! Computes how long clients waited, and during which faults.

use std::{collections::HashMap, fmt::Write, time::Duration};

use chrono::{DateTime, Utc};

use crate::{checker::History, clients::NOMAD, faults::Made, report::Report};

/// In a run of single faults every client must get an answer within this many seconds after the end of a fault.
pub(crate) const AFTER_THE_END: f64 = 5.0;

/// A span of time in which a client waited.
pub(crate) struct Wait {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

impl Wait {
    pub(crate) fn seconds(&self) -> f64 {
        self.to.signed_duration_since(self.from).as_seconds_f64()
    }

    pub(crate) fn meets(&self, made: &Made) -> bool {
        self.from <= made.to && made.from <= self.to
    }
}

pub(crate) fn longest<'a>(waits: impl IntoIterator<Item = &'a Wait>) -> f64 {
    waits.into_iter().map(Wait::seconds).fold(0.0, f64::max)
}

/// The times at which the client got answers.
fn heard(history: &History) -> impl Iterator<Item = DateTime<Utc>> {
    history.paths.iter().flat_map(|path| path.answers.iter().map(|answer| answer.at).chain(path.caught_up))
}

fn silences_of(history: &History) -> Vec<Wait> {
    let heard: Vec<DateTime<Utc>> = heard(history).collect();
    heard.windows(2).map(|pair| Wait { from: pair[0], to: pair[1] }).collect()
}

impl Report {
    pub(crate) fn measured(&self) -> impl Iterator<Item = &History> {
        self.seen.histories.iter().filter(|history| !history.name.starts_with(NOMAD))
    }

    /// For each delivery, the time from the event's commit to its arrival.
    pub(crate) fn deliveries(&self) -> Vec<Wait> {
        let numbered = self.truth.failovers.iter().flat_map(|failover| &failover.numbered);
        let written: HashMap<i64, DateTime<Utc>> =
            self.truth.order.iter().chain(numbered).map(|event| (event.event_id, event.written_at)).collect();
        let mut waits = Vec::new();
        for answer in self.measured().flat_map(|history| &history.paths).flat_map(|path| &path.answers) {
            for event in &answer.events {
                if let Some(from) = event["event_id"].as_i64().and_then(|id| written.get(&id)) {
                    waits.push(Wait { from: *from, to: answer.at });
                }
            }
        }
        waits
    }

    /// For each client, the times from one answer to the next.
    pub(crate) fn silences(&self) -> Vec<Wait> {
        self.measured().flat_map(silences_of).collect()
    }

    /// The longest time in seconds that a client got no answer after the end of a fault, up to the next fault or the end of the
    /// run. Lists that the client loaded again count as answers.
    pub(crate) fn after(&self, made: &Made) -> f64 {
        let next = self.outcome.made.iter().map(|made| made.from).find(|from| *from > made.to);
        let longest = |history: &History| {
            let tried = self.seen.attempts.get(&history.name).into_iter().flatten();
            let lists = tried.filter(|tried| tried.what == "list: 200").map(|tried| tried.to);
            let mut heard: Vec<DateTime<Utc>> = heard(history).chain(lists).chain([made.to]).chain(next).collect();
            heard.sort();
            let within = heard.windows(2).filter(|pair| made.to <= pair[0] && next.is_none_or(|next| pair[1] <= next));
            within.map(|pair| (pair[1] - pair[0]).as_seconds_f64()).fold(0.0, f64::max)
        };
        self.measured().map(longest).fold(0.0, f64::max)
    }

    /// Complaints about clients that got no answer for too long after a single fault.
    pub(crate) fn long_silences(&self) -> Vec<String> {
        let made = if self.plan.alone { &self.outcome.made[..] } else { &[] };
        let silences = made.iter().map(|made| (made, self.after(made)));
        let long = silences.filter(|(_, seconds)| *seconds > AFTER_THE_END);
        long.map(|(made, seconds)| format!("silence of {seconds:.1} s after: {}", made.kind.description())).collect()
    }

    /// The longest silences, with the client's attempts and the faults during each.
    pub(crate) fn longest_silences(&self) -> String {
        let named =
            self.measured().flat_map(|history| silences_of(history).into_iter().map(move |wait| (history, wait)));
        let mut named: Vec<(&History, Wait)> = named.collect();
        named.sort_by(|(_, one), (_, other)| other.seconds().total_cmp(&one.seconds()));
        let mut text = String::new();
        for (history, wait) in named.iter().take(5) {
            let time = |at: DateTime<Utc>| at.format("%T%.3f");
            // Writing to a String never fails.
            let _ = writeln!(text, "{:.1} s: {} from {}", wait.seconds(), history.name, time(wait.from));
            for made in self.outcome.made.iter().filter(|made| wait.meets(made)) {
                let _ =
                    writeln!(text, "    fault {} to {}: {}", time(made.from), time(made.to), made.kind.description());
            }
            let margin = Duration::from_millis(50);
            let tried = self.seen.attempts.get(&history.name).into_iter().flatten();
            for tried in tried.filter(|tried| tried.to > wait.from + margin && tried.from < wait.to) {
                let seconds = (tried.to - tried.from).as_seconds_f64();
                let _ = writeln!(text, "    {} {} after {seconds:.3} s", time(tried.from), tried.what);
            }
        }
        text
    }
}
