//! Measures the relay: how fast it numbers a backlog of rows, and whether a backlog grows while rows are written at a steady rate.
//! Plain SQL writes the rows.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{Bench, process::wait_until, samples::Samples, server::Server};

/// The steady rate, in rows a second.
pub(crate) const OFFERED: u32 = 5_000;

/// The payload of a row: an event of about 500 bytes.
const PAYLOAD: &str = "json_build_object('type', 'new_comment', 'community_id', 1, 'article_id', 1,
    'discussion_id', 999999999, 'comment_id', n, 'parent_id', null, 'depth', 1,
    'text', repeat('Some words of a comment. ', 9),
    'author', json_build_object('id', 1, 'username', 'writer', 'avatar_url', null), 'comment_count', n,
    'timestamp', '2026-01-01T00:00:00Z')";

#[derive(Default)]
pub(crate) struct Relay {
    /// Events a second while the relay numbers a backlog.
    pub(crate) backlog: Samples,
    /// Rows that wait for the relay, counted each second.
    waiting: Samples,
    pub(crate) waiting_most: Samples,
    pub(crate) waiting_last: Samples,
}

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Relay> {
    let mut relay = Relay::default();
    for _ in 0..bench.settings.repeats {
        relay.backlog.record(backlog(bench)?);
        offer(bench, &mut relay)?;
        bench.database.run("checkpoint")?;
    }
    Ok(relay)
}

/// Waits until the hub has all events that the relay has numbered.
fn wait_for_hub(bench: &Bench, server: &Server) -> anyhow::Result<()> {
    wait_until("the hub has every event", Duration::from_secs(60), || {
        Ok(server.gauge("discussions_head")? >= bench.database.last_assigned()?)
    })
}

fn backlog(bench: &Bench) -> anyhow::Result<f64> {
    let rows = bench.settings.backlog;
    // Write the rows while no relay runs, so that only the relay is timed.
    bench.database.run(&format!(
        "insert into outbox (community_id, type, payload)
         select 1, 'new_comment', {PAYLOAD} from generate_series(1, {rows}) n"
    ))?;
    bench.database.run("analyze outbox")?;
    let began = Instant::now();
    let server = bench.start_server(&[])?;
    bench.database.wait_until_relayed()?;
    wait_for_hub(bench, &server)?;
    Ok(f64::from(rows) / began.elapsed().as_secs_f64())
}

fn offer(bench: &Bench, relay: &mut Relay) -> anyhow::Result<()> {
    let seconds = bench.settings.offer_seconds;
    let server = bench.start_server(&[])?;
    // Write one batch every tenth of a second, and commit each batch.
    let writer = bench.database.start(&format!(
        "do $$
         declare start timestamptz := clock_timestamp();
         begin
             for batch in 1..{} loop
                 insert into outbox (community_id, type, payload)
                 select 1, 'new_comment', {PAYLOAD} from generate_series(1, {}) n;
                 commit;
                 perform pg_sleep(greatest(0, extract(epoch from start + batch * interval '100 ms' - clock_timestamp())));
             end loop;
         end $$",
        seconds * 10,
        OFFERED / 10
    ))?;
    let (mut most, mut last) = (0.0_f64, 0.0);
    for _ in 1..seconds {
        sleep(Duration::from_secs(1));
        last = bench.database.waiting()?;
        relay.waiting.record(last);
        most = most.max(last);
    }
    relay.waiting_most.record(most);
    relay.waiting_last.record(last);
    writer.succeed()?;
    bench.database.wait_until_relayed()?;
    wait_for_hub(bench, &server)
}

pub(crate) fn table(bench: &Bench, relay: &Relay) -> String {
    let Relay { backlog, waiting, waiting_most, waiting_last } = relay;
    let settings = &bench.settings;
    format!(
        "
### Relay

| | | goal |
| --- | --- | --- |
| events a second, {} rows from SQL, start of the server included | {} | >= 10,000 |
| rows waiting at {OFFERED} rows a second offered for {} s: median, most, at the end | {}, {}, {} | not growing |
",
        settings.backlog,
        backlog.spread(0, 0),
        settings.offer_seconds,
        waiting.show(0),
        waiting_most.show(0),
        waiting_last.show(0)
    )
}
