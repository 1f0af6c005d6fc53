//! Writes the measurements between the marks of docs/performance.md.

use std::{fs, path::Path};

use anyhow::Context;

use crate::{
    Bench, Figures, Stage,
    fanout::{self, Target},
    growth, nodes,
    process::{command, output},
    relay, requests,
};

/// The complete text between the marks.
pub(crate) fn figures(bench: &Bench, figures: &Figures) -> anyhow::Result<String> {
    let words = |program: &str, arguments: &[&str]| -> anyhow::Result<String> {
        Ok(output(command(program).args(arguments).current_dir(&bench.root))?.trim().to_owned())
    };
    let when = words("date", &["-u", "+%Y-%m-%d, %H:%M"])?;
    let commit = words("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_else(|_| "unknown".to_owned());
    let stages: Vec<&str> = bench.stages.iter().map(|stage| stage.name()).collect();
    let mut text = format!(
        "\nMeasured on {when} UTC, at commit {commit}: {}.\nCommand: `make bench` (stages: {}). Medians of {}; smallest and \
         largest in brackets.\n",
        machine(bench)?,
        stages.join(" "),
        bench.settings.repeats
    );
    if let Some(goals) = goals_table(bench, figures) {
        text += &goals;
    }
    let Figures { fan_out, delivery, requests, member, relay, hub, connections, nodes } = figures;
    let tables = [
        fan_out.as_ref().map(|it| fanout::table(bench, it)),
        requests.as_ref().map(requests::table),
        member.as_ref().map(crate::member::table),
        delivery.as_ref().map(crate::delivery::table),
        relay.as_ref().map(|it| relay::table(bench, it)),
        connections.as_ref().map(growth::connections_table),
        nodes.as_ref().map(|it| nodes::table(bench, it)),
        hub.as_ref().map(growth::hub_table),
    ];
    text += &tables.into_iter().flatten().collect::<String>();
    if let (Some(connections), Some(hub)) = (connections, hub) {
        text += &growth::plots(bench, connections, hub)?;
    }
    Ok(text + "\n")
}

fn machine(bench: &Bench) -> anyhow::Result<String> {
    let after = |file: &str, words: &str| -> anyhow::Result<String> {
        let text = fs::read_to_string(file).context(file.to_owned())?;
        let line = text.lines().find_map(|line| line.strip_prefix(words));
        Ok(line.unwrap_or_default().trim_matches([' ', '\t', ':']).to_owned())
    };
    let word = |said: String, index: usize| said.split_whitespace().nth(index).unwrap_or("?").to_owned();
    let cores = std::thread::available_parallelism()?;
    let model = after("/proc/cpuinfo", "model name")?;
    let kilobytes: f64 = word(after("/proc/meminfo", "MemTotal")?, 0).parse()?;
    let linux = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let postgres = word(output(command(bench.database.programs.join("postgres")).arg("--version"))?, 2);
    let rustc = word(output(command("rustc").arg("--version"))?, 1);
    Ok(format!(
        "{cores} cores ({model}), {:.0} GiB, Linux {}, PostgreSQL {postgres}, rustc {rustc}",
        kilobytes / 1_048_576.0,
        linux.trim()
    ))
}

/// A table of the figures that have a goal. None if not all stages were measured.
fn goals_table(bench: &Bench, figures: &Figures) -> Option<String> {
    let Figures {
        fan_out: Some(fan_out),
        delivery: Some(delivery),
        requests: Some(requests),
        member: Some(member),
        relay: Some(relay),
        hub: Some(hub),
        connections: Some(connections),
        nodes: Some(nodes),
    } = figures
    else {
        return None;
    };
    let settings = &bench.settings;
    let most = settings.most_polls();
    let ours_over_floor = |polls, what: fn(&fanout::Run) -> &crate::samples::Samples| {
        let run = |target| fan_out.run(polls, false, target);
        let (ours, floor) = (run(Target::Ours), run(Target::Floor));
        ours.zip(floor).map_or_else(|| "-".to_owned(), |(ours, floor)| what(ours).over(what(floor)))
    };
    let memory =
        |browser| fan_out.run(most, browser, Target::Ours).map_or_else(|| "-".to_owned(), |run| run.memory.show(0));
    let cpu: Vec<String> = settings.polls.iter().map(|polls| ours_over_floor(*polls, |run| &run.cpu)).collect();
    let all_polls: Vec<String> = settings.polls.iter().map(u32::to_string).collect();
    let of_list = |connections| requests.list.get(&connections).map(|row| row.ours.over(&row.pgbench));
    let of_five = |connections| requests.comment.get(&connections).map(|row| row.ours.over(&row.five));
    let of_two = |connections| requests.comment.get(&connections).map(|row| row.ours.over(&row.pgbench));
    let each = |ratio: &dyn Fn(u32) -> Option<String>| {
        requests::CONNECTIONS.iter().filter_map(|connections| ratio(*connections)).collect::<Vec<_>>().join(", ")
    };
    let rows = [
        format!("server CPU a delivery at {} polls, x floor | <= 1.3, <= 1.1 | {}", all_polls.join(" "), cpu.join(" ")),
        format!(
            "memory a parked poll after the rounds at {most}; with a browser's headers | <= 11.5 kB, <= 2.5 kB | {} B; {} B",
            memory(false),
            memory(true)
        ),
        format!("publish to last delivery at {most}, x floor | <= 1.15 | {}", ours_over_floor(most, |run| &run.last)),
        format!(
            "polls parked: sockets in one process; in memory in one process; sockets on {} nodes | 19,900; 100,000; \
             95,000, none missed | {most}; {}; {}, missed {}",
            settings.nodes,
            connections.last(" a delivery ", 0),
            nodes.parked,
            nodes.wrong.sum()
        ),
        format!(
            "a queue that is registered and not polling, of 100,000 | <= 512 B | {} B",
            hub.last("queues of as many users", 1)
        ),
        format!(
            "POST of a comment to its delivery, one parked poll, x the transaction; x its commit statement | <= 2 | {}; {}",
            delivery.p50.over(&delivery.transaction),
            delivery.p50.over(&delivery.commit)
        ),
        format!(
            "list of discussions at 8, 64 connections, x pgbench of the same statement | >= 0.6 | {}",
            each(&of_list)
        ),
        format!(
            "POST of a comment at 8, 64, x pgbench of a transaction of five statements; of the handler's two | >= 0.5 | {}; {}",
            each(&of_five),
            each(&of_two)
        ),
        format!("unread for a member with 500 articles and 100,000 comments | <= 10 ms | {} ms", member.unread.show(1)),
        format!(
            "relay: events a second; most rows waiting at {} a second offered | >= 10,000; not growing | {}; {}, at the end {}",
            relay::OFFERED,
            relay.backlog.show(0),
            relay.waiting_most.show(0),
            relay.waiting_last.show(0)
        ),
    ];
    let rows = rows.map(|row| format!("| {row} |\n")).concat();
    Some(format!("\n| figure | goal: first, then | measured |\n| --- | --- | --- |\n{rows}"))
}

/// Puts the figures between the marks of a document.
pub(crate) fn write(document: &Path, figures: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(document).with_context(|| document.display().to_string())?;
    Ok(fs::write(document, replaced(&text, figures)?)?)
}

fn replaced(text: &str, figures: &str) -> anyhow::Result<String> {
    let begin = text.find("<!-- figures: begin").context("the document has no mark where the figures begin")?;
    let begin = begin + text[begin..].find('\n').context("the mark has no end of line")? + 1;
    let end =
        begin + text[begin..].find("<!-- figures: end").context("the document has no mark where the figures end")?;
    Ok(format!("{}{figures}{}", &text[..begin], &text[end..]))
}

impl Stage {
    /// The stage's name on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Fanout => "fanout",
            Self::Delivery => "delivery",
            Self::Requests => "requests",
            Self::Member => "member",
            Self::Relay => "relay",
            Self::Hub => "hub",
            Self::Connections => "connections",
            Self::Nodes => "nodes",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_between_the_marks_is_replaced() {
        let text = "# Speed\n<!-- figures: begin (make bench) -->\nold\n<!-- figures: end -->\nmore\n";
        let new = "# Speed\n<!-- figures: begin (make bench) -->\nnew\n<!-- figures: end -->\nmore\n";
        assert_eq!(replaced(text, "new\n").unwrap(), new);
        assert!(replaced("# Speed\n<!-- figures: begin -->\n", "new").is_err());
    }
}
