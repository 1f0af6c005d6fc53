//! A writer sends comments, one after the other, and records those that a server answered with 201.

use std::{rc::Rc, time::Duration};

use anyhow::Context;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::{
    http::{self, Connection},
    message_tag::MessageTag,
    worker::Worker,
};

/// Writes comments while the run's state allows it, until the run stops.
pub(crate) async fn run(worker: Rc<Worker>, index: u32) {
    let stopped = worker.state.stopped.clone();
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
    let scenario = &worker.scenario;
    let target = scenario.write_target(index);
    let head = http::head(target, &scenario.token(scenario.writer(index))?, scenario.args.browser_headers);
    let source = scenario.source(scenario.args.queues + index);
    let pause = match scenario.args.rate {
        0.0 => Duration::from_nanos(1),
        rate => Duration::from_secs_f64(f64::from(scenario.args.writers) / rate),
    };
    let mut beat = interval(pause);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = Connection::open(target, source).await.context("connect")?;
    loop {
        beat.tick().await;
        if !worker.state.may_write() {
            sleep(Duration::from_millis(5)).await;
            // Writers begin at different times within the pause, as people do.
            beat.reset_after(pause.mul_f64(rand::random_range(0.0..1.0)));
            continue;
        }
        let community = rand::random_range(0..scenario.args.communities);
        let discussion = scenario.discussion(community, rand::random_range(0..scenario.discussions()));
        let number = worker.state.next_number(community);
        let tag = MessageTag { run: scenario.run, community, number, began: scenario.now() };
        let request =
            http::post(&format!("/discussions/{discussion}/comments"), &head, &format!(r#"{{"text":"{tag}"}}"#));
        let began = Instant::now();
        worker.state.count_under_way(1);
        let status = connection.ask(&worker.buffer, &request, |answer| answer.status).await;
        let status = status.inspect_err(|_| worker.state.count_under_way(-1))?;
        if status == 201 {
            worker.state.record_written(community, number);
            let mut tally = worker.tally.borrow_mut();
            tally.written += 1;
            tally.request.saturating_record(began.elapsed().as_micros() as u64);
        } else {
            worker.fail(&format!("writer: a comment was answered {}", http::refusal(status)));
        }
        worker.state.count_under_way(-1);
        if status != 201 {
            sleep(Duration::from_millis(50)).await;
        }
        if connection.is_over {
            connection = Connection::open(target, source).await.context("connect")?;
        }
    }
}
