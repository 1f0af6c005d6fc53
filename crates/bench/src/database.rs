//! The private PostgreSQL of the benchmark, used through its own programs.

use std::{path::PathBuf, process::Command, time::Duration};

use crate::{
    Bench,
    process::{self, Process, wait_until},
};

/// The number of users who poll. Their ids begin at 1000, as pollbench's arguments say.
const POLLERS: u32 = 20_000;

/// The database, and the folder of PostgreSQL's programs.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) programs: PathBuf,
}

impl Database {
    fn psql(&self, sql: &str) -> Command {
        let mut command = process::command(self.programs.join("psql"));
        command.arg(&self.url).args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        command
    }

    /// Runs SQL and returns its output.
    pub(crate) fn run(&self, sql: &str) -> anyhow::Result<String> {
        Ok(process::output(&mut self.psql(sql))?.trim().to_owned())
    }

    /// Starts SQL in the background.
    pub(crate) fn start(&self, sql: &str) -> anyhow::Result<Process> {
        Process::start(&mut self.psql(sql))
    }

    /// The number of outbox rows without an event_id.
    pub(crate) fn waiting(&self) -> anyhow::Result<f64> {
        Ok(self.run("select count(*) from outbox where event_id is null")?.parse()?)
    }

    /// The newest event_id that the relay has assigned.
    pub(crate) fn last_assigned(&self) -> anyhow::Result<f64> {
        Ok(self.run("select last_assigned from event_head")?.parse()?)
    }

    /// Waits until the relay has numbered all rows.
    pub(crate) fn wait_until_relayed(&self) -> anyhow::Result<()> {
        wait_until("no row of the outbox waits for the relay", Duration::from_secs(120), || Ok(self.waiting()? == 0.0))
    }
}

/// Migrates the database and fills it. The pollers are members of community 1, where user 1 writes in discussion 999999999.
/// Community 2 has 200 discussions for the statements that pgbench runs. Anyone may read them. User 1 comments, and their author is notified.
pub(crate) fn seed(bench: &Bench) -> anyhow::Result<()> {
    let mut migrate = process::command(&bench.server);
    Process::start(migrate.arg("migrate").stderr(process::append(&bench.work.join("server.log"))?))?.succeed()?;
    let (first, last) = (1_000, 999 + POLLERS);
    bench.database.run(&format!(
        "begin;
        insert into users (id, username) select n, 'bench-' || n from generate_series({first}, {last}) n;
        insert into users (id, username) values (1, 'writer');
        insert into communities (id, name, slug, kind)
            values (1, 'Bench', 'bench', 'private'), (2, 'Lists', 'lists', 'public');
        insert into articles (id, title, slug) values (1, 'Bench', 'bench'), (2, 'Lists', 'lists');
        insert into community_articles (community_id, article_id) values (1, 1), (2, 2);
        insert into memberships (user_id, community_id, role)
            select n, 1, 'member' from generate_series({first}, {last}) n;
        insert into memberships (user_id, community_id, role)
            values (1, 1, 'member'), (1, 2, 'member'), ({first}, 2, 'member');
        insert into discussions (id, community_id, article_id, author_id, topic, text) overriding system value
            select 1000000000 + n, 2, 2, {first}, 'Topic ' || n, repeat('Some words of a discussion. ', 10)
            from generate_series(0, 199) n;
        -- Their writer is in 50 communities.
        insert into communities (id, name, slug, kind)
            select n, 'Other ' || n, 'other-' || n, 'private' from generate_series(3, 50) n;
        insert into memberships (user_id, community_id, role) select 1, n, 'member' from generate_series(3, 50) n;
        -- The comments to come are read: what is unread is measured by itself.
        insert into read_states (user_id, discussion_id, is_read, comments)
            select 1, 1000000000 + n, true, '{{[1,9007199254740992)}}' from generate_series(0, 199) n;
        insert into discussions (id, community_id, article_id, author_id, topic, text) overriding system value
            values (999999999, 1, 1, 1, 'Topic', 'Text');
        commit"
    ))?;
    // Each membership is a row of the outbox. Number these rows now, and vacuum as autovacuum would within a minute, so that the
    // first measurement has the same conditions as the others.
    let server = bench.start_server(&[])?;
    bench.database.wait_until_relayed()?;
    drop(server);
    bench.database.run("vacuum analyze")?;
    Ok(())
}
