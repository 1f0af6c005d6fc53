//! How far back the stream in Redis goes: no further than its bound in bytes allows.

use std::collections::VecDeque;

use super::{OutboxRow, log, stream::STREAM_EVENTS};
use crate::{db::BackgroundDb, ids::EventId};

/// What an entry takes besides its payload, about.
const ENTRY_BYTES: usize = 100;
/// How many sizes are read at a time. The database has to read these payloads, and each may be large.
const PAGE: usize = 200;

/// The newest events, as many as fit into the stream.
///
/// Another publisher may have written to the stream meanwhile. So whoever adds rows checks first that the window ends before them,
/// and else reads it again.
#[derive(Debug)]
pub(super) struct StreamWindow {
    /// The bound in bytes. One event may exceed it.
    room: usize,
    /// The events and the bytes of their entries, oldest first.
    entries: VecDeque<(EventId, usize)>,
    /// The bytes of all entries.
    bytes: usize,
}

impl StreamWindow {
    /// An empty window for a stream of up to `room` bytes.
    pub(super) fn new(room: usize) -> Self {
        Self { room, entries: VecDeque::new(), bytes: 0 }
    }

    /// Whether `event_id` is the newest event in the window.
    pub(super) fn ends_at(&self, event_id: EventId) -> bool {
        self.entries.back().is_some_and(|(newest, _)| *newest == event_id)
    }

    /// The oldest event in the window.
    pub(super) fn first(&self) -> Option<EventId> {
        self.entries.front().map(|(event_id, _)| *event_id)
    }

    /// Reads from the database which events up to `last` fit.
    pub(super) async fn read(&mut self, db: &BackgroundDb, last: EventId) -> Result<(), sqlx::Error> {
        (self.entries, self.bytes) = (VecDeque::new(), 0);
        let mut next = last;
        loop {
            let sizes = log::sizes(db, next, PAGE).await?;
            let is_last_page = sizes.len() < PAGE;
            for (event_id, payload) in sizes {
                let bytes = payload + ENTRY_BYTES;
                if !self.entries.is_empty() && (self.bytes + bytes > self.room || self.entries.len() == STREAM_EVENTS) {
                    return Ok(());
                }
                self.entries.push_front((event_id, bytes));
                self.bytes += bytes;
                next = event_id.minus(1);
            }
            if is_last_page {
                return Ok(());
            }
        }
    }

    /// Adds rows, in ascending order, and drops the oldest events that no longer fit. Ignores rows that are in the window.
    pub(super) fn add(&mut self, rows: &[OutboxRow]) {
        for row in rows {
            if self.entries.back().is_some_and(|(newest, _)| *newest >= row.event_id) {
                continue;
            }
            let bytes = row.payload.len() + ENTRY_BYTES;
            self.entries.push_back((row.event_id, bytes));
            self.bytes += bytes;
            while self.entries.len() > 1 && (self.bytes > self.room || self.entries.len() > STREAM_EVENTS) {
                if let Some((_, dropped)) = self.entries.pop_front() {
                    self.bytes -= dropped;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(event_id: i64, size: usize) -> OutboxRow {
        OutboxRow {
            event_id: event_id.into(),
            community_id: 1.into(),
            user_id: None,
            payload: "x".repeat(size),
            created_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_newest_events_stay_that_fit() {
        let mut window = StreamWindow::new(1_000);
        assert_eq!((window.first(), window.ends_at(EventId::START)), (None, false));
        for event_id in 1..=20 {
            window.add(&[row(event_id, 100)]);
            assert!(window.ends_at(event_id.into()));
            assert_eq!(window.first(), Some((event_id - 4).max(1).into()), "five of 200 bytes fit");
        }
        // An event that is larger than the bound is there alone, until the next one comes.
        window.add(&[row(21, 5_000)]);
        assert_eq!((window.first(), window.ends_at(21.into())), (Some(21.into()), true));
        window.add(&[row(21, 1), row(22, 100), row(23, 100)]);
        assert_eq!((window.first(), window.bytes), (Some(22.into()), 400));
    }

    #[test]
    fn a_stream_has_a_bound_of_events_too() {
        let mut window = StreamWindow::new(usize::MAX);
        let events = STREAM_EVENTS as i64 + 5;
        (1..=events).for_each(|event_id| window.add(&[row(event_id, 0)]));
        assert_eq!(window.first(), Some(6.into()));
    }
}
