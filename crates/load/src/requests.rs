//! Measures requests a second. Each connection sends its next request as soon as the last one is answered.

use std::{io::Write, rc::Rc, sync::Arc, thread, time::Duration};

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::task::{JoinSet, LocalSet};

use crate::{
    Requests,
    http::{self, Connection},
    message_tag::MessageTag,
    report::Times,
    run_state::RunState,
    scenario::Scenario,
    tally::Tally,
    worker::{self, Worker},
};

/// Measures and prints. Returns true if no request failed.
pub(crate) async fn measure(scenario: &Arc<Scenario>, what: Requests) -> anyhow::Result<bool> {
    let state = Arc::new(RunState::new(scenario));
    let count = (worker::threads() as u32).min(scenario.args.connections);
    let threads: Vec<_> = (0..count)
        .map(|number| {
            let (scenario, state) = (Arc::clone(scenario), Arc::clone(&state));
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                LocalSet::new().block_on(&runtime, work(&scenario, &state, what, number, count))
            })
        })
        .collect();
    let mut tally = Tally::default();
    for thread in threads {
        let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
        tally.add(joined.map_err(|_| anyhow::anyhow!("a thread panicked; see above"))??);
    }
    print(scenario, what, &tally)?;
    Ok(tally.errors.is_empty() && tally.written > 0)
}

async fn work(
    scenario: &Arc<Scenario>,
    state: &Arc<RunState>,
    what: Requests,
    number: u32,
    count: u32,
) -> anyhow::Result<Tally> {
    let worker = Rc::new(Worker::new(scenario, state));
    let mut clients = JoinSet::new();
    for index in (number..scenario.args.connections).step_by(count as usize) {
        clients.spawn_local(client(Rc::clone(&worker), what, index));
    }
    for ended in clients.join_all().await {
        ended?;
    }
    Ok(worker.tally.take())
}

async fn client(worker: Rc<Worker>, what: Requests, index: u32) -> anyhow::Result<()> {
    let scenario = &worker.scenario;
    let target = scenario.write_target(index);
    let head = http::head(target, &scenario.token(scenario.writer(index))?, scenario.args.browser_headers);
    let mut connection = Connection::open(target, scenario.source(index)).await.context("connect")?;
    let start = scenario.now();
    // The first tenth is not counted, because pools, caches and query plans are filled then.
    let (from, until) = (start + scenario.args.seconds * 100_000_000, start + scenario.args.seconds * 1_100_000_000);
    loop {
        let began = scenario.now();
        if began >= until {
            return Ok(());
        }
        let (request, good) = match what {
            Requests::List => {
                let path = format!(
                    "GET /articles/{}/discussions?community_id={}&limit=20",
                    scenario.article(),
                    scenario.community(0)
                );
                (format!("{path}{head}\r\n").into_bytes(), 200)
            }
            Requests::Comment => {
                let number = worker.state.next_number(0);
                let tag = MessageTag { run: scenario.run, community: 0, number, began };
                let discussion = scenario.discussion(0, rand::random_range(0..scenario.discussions()));
                let body = format!(r#"{{"text":"{tag}"}}"#);
                (http::post(&format!("/discussions/{discussion}/comments"), &head, &body), 201)
            }
        };
        let status = connection.ask(&worker.buffer, &request, |answer| answer.status).await?;
        ensure!(!connection.is_over, "the server closed the connection after status {status}");
        let ended = scenario.now();
        if status != good {
            worker.fail(&format!("answered {}", http::refusal(status)));
        } else if began >= from && ended <= until {
            let mut tally = worker.tally.borrow_mut();
            tally.written += 1;
            tally.request.saturating_record((ended - began) / 1_000);
        }
    }
}

fn print(scenario: &Scenario, what: Requests, tally: &Tally) -> anyhow::Result<()> {
    let (count, times) = (tally.written, Times::new(&tally.request));
    let a_second = count as f64 / Duration::from_secs(scenario.args.seconds).as_secs_f64();
    let mut out = std::io::stdout().lock();
    if scenario.args.json {
        let report =
            json!({ "requests": count, "requests_a_second": a_second, "times": times, "errors": tally.errors });
        return Ok(writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?);
    }
    let connections = scenario.args.connections;
    writeln!(out, "{} {}, {a_second:.0} a second over {connections} connections", count, Scenario::words(what))?;
    writeln!(out, "      p50       p99     p99.9       max   (ms)\n{}", times.row())?;
    for (what, count) in &tally.errors {
        writeln!(out, "failed requests: {count} x {what}")?;
    }
    Ok(())
}
