//! Measures requests a second of the list and of a new comment, and pgbench with the statements of the same handlers.

use std::{collections::BTreeMap, fs};

use anyhow::ensure;

use crate::{
    Bench,
    process::{command, output},
    samples::Samples,
    statements::{Scripts, for_user},
};

/// The numbers of connections that send requests at the same time.
pub(crate) const CONNECTIONS: [u32; 2] = [8, 64];

/// The measurements, by the number of connections.
#[derive(Default)]
pub(crate) struct Requests {
    pub(crate) list: BTreeMap<u32, Row>,
    pub(crate) comment: BTreeMap<u32, Row>,
}

/// The requests a second of one measurement.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) ours: Samples,
    /// In milliseconds.
    p99: Samples,
    /// pgbench with the same statements.
    pub(crate) pgbench: Samples,
    /// pgbench with a transaction of five statements.
    pub(crate) five: Samples,
    /// pgbench with the same statement for nobody, which reads nothing that is a member's own.
    pub(crate) guest: Samples,
}

/// The figures that pgbench prints.
pub(crate) struct Pgbench {
    pub(crate) transactions_a_second: f64,
    transactions: f64,
    pub(crate) milliseconds: f64,
    /// The time of the commit statement alone, if the script has one.
    pub(crate) commit_milliseconds: Option<f64>,
}

/// Runs a pgbench script, in connections with the server's settings.
pub(crate) fn pgbench(
    bench: &Bench,
    script: &str,
    clients: u32,
    seconds: u32,
    options: &[&str],
) -> anyhow::Result<Pgbench> {
    let file = bench.work.join("pgbench.sql");
    fs::write(&file, script)?;
    let mut pgbench = command(bench.database.programs.join("pgbench"));
    pgbench.env("PGOPTIONS", "-c jit=off -c plan_cache_mode=force_generic_plan");
    pgbench.args(["-n", "-M", "prepared", "-r", "-c", &clients.to_string(), "-j", if clients < 2 { "1" } else { "2" }]);
    pgbench.args(["-T", &seconds.to_string()]).args(options).arg("-f").arg(file).arg(&bench.database.url);
    let said = output(&mut pgbench)?;
    let after = |words: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(words));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
    };
    let commit = said.lines().find(|line| line.trim_end().ends_with(" commit;"));
    let missing = || anyhow::anyhow!("pgbench printed no figures: {said}");
    Ok(Pgbench {
        transactions_a_second: after("tps = ").ok_or_else(missing)?,
        transactions: after("number of transactions actually processed: ").ok_or_else(missing)?,
        milliseconds: after("latency average = ").ok_or_else(missing)?,
        commit_milliseconds: commit.and_then(|line| line.split_whitespace().next()?.parse().ok()),
    })
}

/// Runs a script in which each transaction writes a comment. Fails if one did not, because a statement that finds nothing to do
/// would be too fast.
pub(crate) fn pgbench_comments(
    bench: &Bench,
    script: &str,
    clients: u32,
    seconds: u32,
    options: &[&str],
) -> anyhow::Result<Pgbench> {
    let comments = || anyhow::Ok(bench.database.run("select count(*) from comments")?.parse::<f64>()?);
    let before = comments()?;
    let measured = pgbench(bench, script, clients, seconds, options)?;
    let (written, transactions) = (comments()? - before, measured.transactions);
    ensure!(written == transactions, "{transactions} transactions wrote {written} comments: {script}");
    Ok(measured)
}

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Requests> {
    let scripts = Scripts::new(&bench.root)?;
    let rows = |script: &str| anyhow::Ok(bench.database.run(&for_user(script, 1))?.lines().count());
    let (of_member, of_guest) = (rows(&scripts.list)?, rows(&scripts.list_of_guest)?);
    ensure!(
        of_member == of_guest,
        "a member's list has {of_member} rows and a guest's {of_guest}, so they do not compare"
    );
    let mut requests = Requests::default();
    for _ in 0..bench.settings.repeats {
        for connections in CONNECTIONS {
            let row = requests.list.entry(connections).or_default();
            let member = pgbench(bench, &scripts.list, connections, bench.settings.seconds, &[])?;
            row.pgbench.record(member.transactions_a_second);
            let guest = pgbench(bench, &scripts.list_of_guest, connections, bench.settings.seconds, &[])?;
            row.guest.record(guest.transactions_a_second);
            measure_ours(bench, row, "list --communities 50", connections)?;
        }
        for connections in CONNECTIONS {
            let row = requests.comment.entry(connections).or_default();
            for (script, samples) in [(&scripts.comment, &mut row.pgbench), (&scripts.five, &mut row.five)] {
                let pgbench = pgbench_comments(bench, script, connections, bench.settings.seconds, &[])?;
                samples.record(pgbench.transactions_a_second);
            }
            measure_ours(bench, row, "comment", connections)?;
        }
    }
    Ok(requests)
}

fn measure_ours(bench: &Bench, row: &mut Row, what: &str, connections: u32) -> anyhow::Result<()> {
    let seconds = bench.settings.seconds;
    let server = bench.start_server(&[])?;
    bench.database.wait_until_relayed()?;
    let load = format!("--requests {what} --connections {connections} --seconds {seconds} --url {}", server.url);
    let result = bench.load(&load)?;
    row.ours.record(result.number("/requests_a_second")?);
    row.p99.record(result.number("/times/p99")?);
    Ok(())
}

pub(crate) fn table(requests: &Requests) -> String {
    let mut table = "
### Requests a second

| | connections | ours | p99, ms | pgbench, the same statements | ours / pgbench | goal |
| --- | --- | --- | --- | --- | --- | --- |
"
    .to_owned();
    for (what, rows, goal) in [("list", &requests.list, 0.6), ("comment", &requests.comment, 0.5)] {
        for (connections, row) in rows {
            let (ours, pgbench) = (row.ours.spread(0, 0), row.pgbench.spread(0, 0));
            let (p99, ratio) = (row.p99.show(1), row.ours.over(&row.pgbench));
            table += &format!("| {what} | {connections} | {ours} | {p99} | {pgbench} | {ratio} | >= {goal} |\n");
            for (beside, samples) in [
                ("the statement without what is a member's own", &row.guest),
                ("a transaction of five statements", &row.five),
            ] {
                if !samples.is_empty() {
                    let (other, ratio) = (samples.spread(0, 0), row.ours.over(samples));
                    table += &format!("| {what}, beside {beside} | {connections} | | | {other} | {ratio} | >= 0.5 |\n");
                }
            }
        }
    }
    table
}
