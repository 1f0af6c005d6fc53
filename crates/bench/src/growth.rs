//! Runs the two benchmarks that need no sockets (`benches/`), and plots how their figures grow.

use std::{fmt::Write, fs, fs::File, process::Command};

use crate::{
    Bench,
    peers::find_program,
    process::{command, output},
};

/// The table that a benchmark printed.
pub(crate) struct Printed(String);

/// Runs `cargo bench --bench NAME`.
pub(crate) fn measure(bench: &Bench, name: &str) -> anyhow::Result<Printed> {
    let mut cargo = command("cargo");
    cargo.args(["bench", "--quiet", "--locked", "--package", "discussions", "--bench", name]).current_dir(&bench.root);
    let printed = output(&mut cargo)?;
    eprint!("{printed}");
    Ok(Printed(printed))
}

impl Printed {
    /// The numbers of each line that contains `words`.
    fn numbers(&self, words: &str) -> Vec<Vec<f64>> {
        let lines = self.0.lines().filter(|line| line.contains(words));
        lines.map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect()).collect()
    }

    /// The number at `column` in the last line that contains `words`, or a dash.
    pub(crate) fn last(&self, words: &str, column: usize) -> String {
        let numbers = self.numbers(words);
        numbers.last().and_then(|line| line.get(column)).map_or_else(|| "-".to_owned(), f64::to_string)
    }

    fn fenced(&self) -> String {
        format!("```text\n{}\n```\n", self.0.trim_start_matches('\n').trim_end())
    }
}

pub(crate) fn connections_table(connections: &Printed) -> String {
    format!(
        "
### Polls parked in one process, over connections in memory (`cargo bench --bench connections`)

{}
Goals: 100,000 in one process, memory and time a poll flat from 1,000 on. Client and server share one thread.
",
        connections.fenced()
    )
}

pub(crate) fn hub_table(hub: &Printed) -> String {
    format!("\n### The hub's operations, and how they grow (`cargo bench --bench hub`)\n\n{}", hub.fenced())
}

/// A plot's name, the benchmark's output, the words that its lines contain, and the columns of numbers that the plot uses.
type Series<'a> = (&'a str, &'a Printed, &'a str, &'a [usize]);

/// Draws docs/images/growth.svg and returns the text that explains it.
pub(crate) fn plots(bench: &Bench, connections: &Printed, hub: &Printed) -> anyhow::Result<String> {
    let series: [Series; 5] = [
        ("polls", connections, " a delivery ", &[0, 1, 3]),
        ("idle", hub, "queues of as many users", &[0, 1]),
        ("communities", hub, " communities ", &[0, 1, 2, 3]),
        ("events", hub, " events  ", &[0, 1, 2]),
        ("neighbours", hub, " idle queues: ", &[0, 2]),
    ];
    for (name, printed, words, columns) in series {
        let mut data = String::new();
        for line in printed.numbers(words) {
            let values: Vec<String> =
                columns.iter().filter_map(|column| line.get(*column)).map(f64::to_string).collect();
            writeln!(data, "{}", values.join(" "))?;
        }
        fs::write(bench.work.join(format!("{name}.dat")), data)?;
    }
    let image = &bench.settings.plots;
    match find_program("gnuplot") {
        None => eprintln!("warning: no gnuplot: {} is left as it is", image.display()),
        Some(gnuplot) => {
            let script = bench.work.join("growth.gnuplot");
            fs::write(&script, include_str!("growth.gnuplot"))?;
            let mut gnuplot = Command::new(gnuplot);
            gnuplot.arg(script).current_dir(&bench.work).stdout(File::create(bench.root.join(image))?);
            anyhow::ensure!(gnuplot.status()?.success(), "gnuplot failed");
        }
    }
    Ok("
### How cost grows

![Five plots of the figures above: how the cost of a poll grows](images/growth.svg)

A poll with nothing new costs the same at every size: it looks at its queue and parks. Two costs grow: the events of an
answer, and the search for an event among the communities of its reader. An event costs work only for the polls that it
answers. Appending it takes about as long beside 100,000 idle queues as without them (see the table above). The polls that
then poll again may cost more there, because the server looks their queues up in a larger table.
"
    .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_benchmarks_lines() {
        let printed = Printed(
            "\nPolls parked\n    1000 polls     2097 ns a delivery     1782 bytes a poll     1823 after the rounds\n  \
             100 queues of as many users    115 bytes each\n  1000 queues of as many users    411 bytes each\n    \
             1000 idle queues: append 0.034 ms, all have it 0.149 ms\n"
                .to_owned(),
        );
        assert_eq!(printed.numbers(" a delivery "), [[1000.0, 2097.0, 1782.0, 1823.0]]);
        assert_eq!(printed.numbers(" idle queues: "), [[1000.0, 0.034, 0.149]]);
        assert_eq!(
            (printed.last("queues of as many users", 1), printed.last("no such", 1)),
            ("411".to_owned(), "-".to_owned())
        );
        assert!(printed.fenced().starts_with("```text\nPolls parked\n"));
    }
}
