//! Measures several nodes on one Redis, each with as many sockets as a process may open. Every event is written at one node and
//! read at another. No event may be missed.

use std::{fs, fs::File, process::Command, thread::sleep, time::Duration};

use anyhow::Context;

use crate::{
    Bench, Measured,
    process::{self, Process, output},
    samples::Samples,
};

/// The measurements, with a sample for each node.
#[derive(Default)]
pub(crate) struct Nodes {
    /// The largest number of polls that were parked at once on all nodes together.
    pub(crate) parked: f64,
    deliveries: Samples,
    /// Events that were missed, repeated, out of order or leaked.
    pub(crate) wrong: Samples,
    /// Bytes for each parked poll.
    memory: Samples,
    p50: Samples,
    p99: Samples,
}

/// Starts a private Redis. Returns its process and its URL.
fn redis(bench: &Bench) -> anyhow::Result<(Process, String)> {
    let folder = bench.work.join("redis");
    let script = |action: &str| {
        let mut command = Command::new(bench.root.join("scripts/redis.sh"));
        command.arg(action).arg(&folder);
        command
    };
    output(&mut script("prepare"))?;
    let redis = Process::start(&mut script("run"))?;
    output(script("wait").arg(redis.id()))?;
    let url = output(&mut script("url"))?.trim().to_owned();
    Ok((redis, url))
}

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Nodes> {
    let settings = &bench.settings;
    let (_redis, redis_url) = redis(bench)?;
    // PostgreSQL accepts 100 connections by default.
    let environment = [("REDIS_URL", redis_url.as_str()), ("DATABASE_CONNECTIONS", "8")];
    let servers = (0..settings.nodes).map(|_| bench.start_server(&environment)).collect::<anyhow::Result<Vec<_>>>()?;

    let file = |node: usize, kind: &str| bench.work.join(format!("node{node}.{kind}"));
    let mut loads = Vec::new();
    for (node, server) in servers.iter().enumerate() {
        let other = &servers[(node + 1) % servers.len()];
        let (slot, pid, url, write_url) = (node + 1, server.process.id(), &server.url, &other.url);
        let (queues, seconds) = (settings.node_queues, settings.node_seconds);
        let arguments = format!(
            "--slot {slot} --queues {queues} --communities 10 --memberships 2 --writers 1 --rate 1 --seconds {seconds} \
             --url {url} --write-url {write_url} --server-pid {pid} --json"
        );
        let mut load = process::command(&bench.load);
        load.args(arguments.split(' ')).stdout(File::create(file(node, "json"))?);
        loads.push(Process::start(load.stderr(process::append(&file(node, "log"))?))?);
    }
    let mut nodes = Nodes::default();
    let mut is_running = true;
    while is_running {
        let parked = servers.iter().map(|server| server.gauge("discussions_parked_polls"));
        nodes.parked = nodes.parked.max(parked.sum::<anyhow::Result<f64>>()?);
        sleep(Duration::from_secs(1));
        is_running = false;
        for load in &mut loads {
            is_running |= load.is_running()?;
        }
    }
    for (node, load) in loads.into_iter().enumerate() {
        let log = file(node, "log");
        load.succeed()
            .with_context(|| format!("a load test found a fault, or could not begin: see {}", log.display()))?;
        let result = Measured::read(&fs::read(file(node, "json"))?)?;
        nodes.deliveries.record(result.number("/deliveries")?);
        for wrong in ["/missed", "/repeated", "/out_of_order", "/leaked"] {
            nodes.wrong.record(result.number(wrong)?);
        }
        nodes.memory.record(result.number("/server/bytes_a_queue_after")?);
        nodes.p50.record(result.number("/delivery/p50")?);
        nodes.p99.record(result.number("/delivery/p99")?);
    }
    Ok(nodes)
}

pub(crate) fn table(bench: &Bench, nodes: &Nodes) -> String {
    let (count, queues) = (bench.settings.nodes, bench.settings.node_queues);
    let Nodes { parked, deliveries, wrong, memory, p50, p99 } = nodes;
    let goal = count * queues;
    format!(
        "
### {count} nodes on one Redis, {queues} sockets each

| | | goal |
| --- | --- | --- |
| polls parked at once | {parked} | {goal} |
| deliveries, every event written at one node and read at another | {} | |
| missed, repeated, out of order or leaked | {} | 0 |
| bytes a parked poll after the run (median of the nodes) | {} | |
| POST start to delivery, p50 / p99, ms (median of the nodes; {} sockets on one machine) | {} / {} | |
",
        deliveries.sum(),
        wrong.sum(),
        memory.show(0),
        2 * goal,
        p50.show(1),
        p99.show(1)
    )
}
