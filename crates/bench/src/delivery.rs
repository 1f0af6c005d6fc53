//! Measures how long a comment takes from its POST to a parked poll.

use anyhow::Context;

use crate::{Bench, requests::pgbench_comments, samples::Samples, statements::Scripts};

/// The measurements, in milliseconds.
#[derive(Default)]
pub(crate) struct Delivery {
    /// From the start of the POST to the complete answer of the one parked poll.
    pub(crate) p50: Samples,
    p99: Samples,
    /// The writer's own answer.
    post: Samples,
    /// The same transaction by pgbench, with one client.
    pub(crate) transaction: Samples,
    /// The commit statement of that transaction alone.
    pub(crate) commit: Samples,
    /// The load test with its default arguments.
    users_p50: Samples,
    users_p99: Samples,
}

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Delivery> {
    let scripts = Scripts::new(&bench.root)?;
    let mut delivery = Delivery::default();
    for _ in 0..bench.settings.repeats {
        // pgbench runs at the pace of the comments, because a machine that rests in between is slower.
        let single = pgbench_comments(bench, &scripts.five, 1, 5, &["-R", "50"])?;
        delivery.transaction.record(single.milliseconds);
        delivery.commit.record(single.commit_milliseconds.context("pgbench printed no time of the commit")?);

        let server = bench.start_server(&[])?;
        bench.database.wait_until_relayed()?;
        let one = "--queues 1 --communities 1 --memberships 1 --writers 1 --rate 50 --seconds 8";
        let result = bench.load(&format!("{one} --url {}", server.url))?;
        drop(server);
        delivery.p50.record(result.number("/delivery/p50")?);
        delivery.p99.record(result.number("/delivery/p99")?);
        delivery.post.record(result.number("/post/p50")?);

        let server = bench.start_server(&[])?;
        let result = bench.load(&format!("--url {}", server.url))?;
        delivery.users_p50.record(result.number("/delivery/p50")?);
        delivery.users_p99.record(result.number("/delivery/p99")?);
    }
    Ok(delivery)
}

pub(crate) fn table(delivery: &Delivery) -> String {
    let Delivery { p50, p99, post, transaction, commit, users_p50, users_p99 } = delivery;
    format!(
        "
### From a comment's POST to its delivery

| | p50, ms | p99, ms |
| --- | --- | --- |
| 1 parked poll, 50 comments a second: POST start to whole delivery | {} | {} |
| the writer's own answer | {} | |
| pgbench, 1 client at the same pace: the transaction of five statements; its commit statement alone | {}; {} | |
| `discussions-load` with its defaults (1,000 queues, 10 communities, 20 comments a second) | {} | {} |

Goal: <= 2 x the time of the commit. It is {} x the transaction that is committed, {} x the commit statement alone.
",
        p50.spread(2, 2),
        p99.show(2),
        post.show(2),
        transaction.show(2),
        commit.show(2),
        users_p50.show(2),
        users_p99.show(2),
        p50.over(transaction),
        p50.over(commit),
    )
}
