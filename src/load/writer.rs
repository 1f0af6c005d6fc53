//! A writer: comments, one after the other, and notes what a server said is written.

use std::{rc::Rc, time::Duration};

use anyhow::Context;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{
    http::{self, Connection},
    marker::Marker,
    worker::Worker,
};

/// Writes while the board says so, until the run stops.
pub async fn run(worker: Rc<Worker>, index: u32) {
    let stopped = worker.board.stopped.clone();
    let writing = async {
        while let Err(error) = on_one_connection(&worker, index).await {
            worker.fail(&format!("writer: {error:#}"));
            sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        () = writing => {}
        () = stopped.cancelled() => {}
    }
}

async fn on_one_connection(worker: &Worker, index: u32) -> anyhow::Result<()> {
    let plan = &worker.plan;
    let target = plan.write_target(index);
    let head = http::head(target, &plan.token(plan.writer(index))?, plan.args.browser_headers);
    let source = plan.source(plan.args.queues + index);
    let pause = match plan.args.rate {
        0.0 => Duration::from_nanos(1),
        rate => Duration::from_secs_f64(f64::from(plan.args.writers) / rate),
    };
    let mut beat = interval(pause);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = Connection::open(target, source).await.context("connect")?;
    loop {
        beat.tick().await;
        if !worker.board.may_write() {
            sleep(Duration::from_millis(5)).await;
            // Each begins somewhere within the beat, as people do.
            beat.reset_after(pause.mul_f64(rand::random_range(0.0..1.0)));
            continue;
        }
        let community = rand::random_range(0..plan.args.communities);
        let discussion = plan.discussion(community, rand::random_range(0..plan.discussions()));
        let number = worker.board.next(community);
        let marker = Marker { run: plan.run, community, number, began: plan.now() };
        let request =
            http::post(&format!("/discussions/{discussion}/comments"), &head, &format!(r#"{{"text":"{marker}"}}"#));
        let began = Instant::now();
        worker.board.under_way(1);
        let status = connection.ask(&worker.buffer, &request, |answer| answer.status).await;
        let status = status.inspect_err(|_| worker.board.under_way(-1))?;
        if status == 201 {
            worker.board.written(community, number);
            let mut tally = worker.tally.borrow_mut();
            tally.written += 1;
            tally.request.saturating_record(began.elapsed().as_micros() as u64);
        } else {
            worker.fail(&format!("writer: a comment was answered {status}"));
        }
        worker.board.under_way(-1);
        if status != 201 {
            sleep(Duration::from_millis(50)).await;
        }
        if connection.is_over {
            connection = Connection::open(target, source).await.context("connect")?;
        }
    }
}
