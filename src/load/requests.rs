//! Requests a second: connections that each send the next request when the last is answered.

use std::{io::Write, rc::Rc, sync::Arc, thread, time::Duration};

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::task::{JoinSet, LocalSet};

use super::{
    Requests,
    board::Board,
    http::{self, Connection},
    marker::Marker,
    plan::Plan,
    report::Times,
    tally::Tally,
    worker::{self, Worker},
};

/// Measures, prints, and says whether no request failed.
pub async fn measure(plan: &Arc<Plan>, what: Requests) -> anyhow::Result<bool> {
    let board = Arc::new(Board::new(plan));
    let count = (worker::threads() as u32).min(plan.args.connections);
    let threads: Vec<_> = (0..count)
        .map(|number| {
            let (plan, board) = (Arc::clone(plan), Arc::clone(&board));
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                LocalSet::new().block_on(&runtime, work(&plan, &board, what, number, count))
            })
        })
        .collect();
    let mut tally = Tally::default();
    for thread in threads {
        let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
        tally.add(joined.map_err(|_| anyhow::anyhow!("a thread panicked; see above"))??);
    }
    print(plan, what, &tally)?;
    Ok(tally.errors.is_empty() && tally.written > 0)
}

async fn work(plan: &Arc<Plan>, board: &Arc<Board>, what: Requests, number: u32, count: u32) -> anyhow::Result<Tally> {
    let worker = Rc::new(Worker::new(plan, board));
    let mut clients = JoinSet::new();
    for index in (number..plan.args.connections).step_by(count as usize) {
        clients.spawn_local(client(Rc::clone(&worker), what, index));
    }
    for ended in clients.join_all().await {
        ended?;
    }
    Ok(worker.tally.take())
}

async fn client(worker: Rc<Worker>, what: Requests, index: u32) -> anyhow::Result<()> {
    let plan = &worker.plan;
    let target = plan.write_target(index);
    let head = http::head(target, &plan.token(plan.writer(index))?, plan.args.browser_headers);
    let mut connection = Connection::open(target, plan.source(index)).await.context("connect")?;
    let start = plan.now();
    // The first tenth is for warming up: pools, caches, plans.
    let (from, until) = (start + plan.args.seconds * 100_000_000, start + plan.args.seconds * 1_100_000_000);
    loop {
        let began = plan.now();
        if began >= until {
            return Ok(());
        }
        let (request, good) = match what {
            Requests::List => {
                let path =
                    format!("GET /articles/{}/discussions?community_id={}&limit=20", plan.article(), plan.community(0));
                (format!("{path}{head}\r\n").into_bytes(), 200)
            }
            Requests::Comment => {
                let number = worker.board.next(0);
                let marker = Marker { run: plan.run, community: 0, number, began };
                let discussion = plan.discussion(0, rand::random_range(0..plan.discussions()));
                let body = format!(r#"{{"text":"{marker}"}}"#);
                (http::post(&format!("/discussions/{discussion}/comments"), &head, &body), 201)
            }
        };
        let status = connection.ask(&worker.buffer, &request, |answer| answer.status).await?;
        ensure!(!connection.is_over, "the server closed the connection after status {status}");
        let ended = plan.now();
        if status != good {
            worker.fail(&format!("answered {status}"));
        } else if began >= from && ended <= until {
            let mut tally = worker.tally.borrow_mut();
            tally.written += 1;
            tally.request.saturating_record((ended - began) / 1_000);
        }
    }
}

fn print(plan: &Plan, what: Requests, tally: &Tally) -> anyhow::Result<()> {
    let (count, times) = (tally.written, Times::new(&tally.request));
    let a_second = count as f64 / Duration::from_secs(plan.args.seconds).as_secs_f64();
    let mut out = std::io::stdout().lock();
    if plan.args.json {
        let report =
            json!({ "requests": count, "requests_a_second": a_second, "times": times, "errors": tally.errors });
        return Ok(writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?);
    }
    let connections = plan.args.connections;
    writeln!(out, "{} {}, {a_second:.0} a second over {connections} connections", count, Plan::words(what))?;
    writeln!(out, "      p50       p99     p99.9       max   (ms)\n{}", times.row())?;
    for (what, count) in &tally.errors {
        writeln!(out, "failed requests: {count} x {what}")?;
    }
    Ok(())
}
