//! The table that `make abuse` prints.

use std::fmt::{self, Display, Formatter};

use crate::{Noticed, attacks::Attack};

/// The results of one attack.
pub(crate) struct Row {
    pub attack: Attack,
    pub without: Noticed,
    pub with: Noticed,
    /// The server's memory in bytes: before the attack, at most during it, and after it.
    pub memory_before: u64,
    pub memory_highest: u64,
    pub memory_after: u64,
    /// The server's open files at the end of the attack.
    pub open_files: usize,
    pub attacker_saw: String,
}

#[derive(Default)]
pub(crate) struct Report {
    pub rows: Vec<Row>,
}

impl Report {
    /// What ordinary users should not notice, whatever the attack.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for Row { attack, with, .. } in &self.rows {
            if with.catch_ups > 0 {
                complaints.push(format!("{attack}: {} ordinary users had to catch up", with.catch_ups));
            }
            if with.missed > 0 {
                complaints.push(format!("{attack}: {} ordinary comments were not delivered", with.missed));
            }
            if let Some(error) = with.errors.first() {
                complaints.push(format!("{attack}: ordinary users met {} errors, first: {error}", with.errors.len()));
            }
        }
        complaints
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| attack | delivery p99, ms: without, with | list p99, ms: without, with | server's memory, MB: before, highest, after \
             | open files | the attacker saw |\n| --- | --- | --- | --- | --- | --- |"
        )?;
        for row in &self.rows {
            let pair = |of: fn(&Noticed) -> &[std::time::Duration]| {
                let [without, with] =
                    [&row.without, &row.with].map(|noticed| Noticed::p99(of(noticed)).as_secs_f64() * 1e3);
                format!("{without:.1}, {with:.1}")
            };
            let memory = [row.memory_before, row.memory_highest, row.memory_after].map(|bytes| bytes / 1_000_000);
            writeln!(
                f,
                "| {} | {} | {} | {}, {}, {} | {} | {} |",
                row.attack,
                pair(|noticed| &noticed.deliveries),
                pair(|noticed| &noticed.lists),
                memory[0],
                memory[1],
                memory[2],
                row.open_files,
                row.attacker_saw
            )?;
        }
        Ok(())
    }
}
