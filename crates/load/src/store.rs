//! The SQL of the load test. It creates users, communities and discussions in their own range of ids, and deletes them.

use std::time::Duration;

use anyhow::{Context, ensure};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};

use crate::scenario::Scenario;

/// The advisory lock of slot 0; the others follow. The lock ensures that two runs do not use the same rows.
const LOCK: i64 = 0x6c_6f_61_64_00;
/// How long the relay may take to number the events of the new memberships.
const RELAY: Duration = Duration::from_secs(60);

/// A database connection that holds the lock of the slot.
pub(crate) struct Store(PgConnection);

impl Store {
    /// Connects and takes the slot. Fails if another run has it.
    pub(crate) async fn open(url: &str, slot: u8) -> anyhow::Result<Self> {
        let mut db = PgConnection::connect(url).await.context("cannot reach PostgreSQL at DATABASE_URL")?;
        let taken = sqlx::query_scalar!(r#"select pg_try_advisory_lock($1) as "taken!""#, LOCK + i64::from(slot))
            .fetch_one(&mut db)
            .await?;
        ensure!(taken, "another run uses slot {slot} of this database: take another --slot");
        Ok(Self(db))
    }

    /// Inserts the scenario's rows.
    pub(crate) async fn seed(&mut self, scenario: &Scenario) -> sqlx::Result<()> {
        let (first, args) = (scenario.ids().start, &scenario.args);
        let (readers, writers) = (i64::from(args.queues), i64::from(args.writers));
        let communities = i64::from(args.communities);
        let mut transaction = self.0.begin().await?;
        let db = &mut *transaction;
        sqlx::query!(
            "insert into users (id, username) select $1::bigint + n, 'load-' || n from generate_series(0, $2::bigint - 1) n",
            first,
            readers + writers
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!(
            "insert into communities (id, name, slug, kind)
             select $1::bigint + n, 'Load ' || n, 'load-' || n, 'private' from generate_series(0, $2::bigint - 1) n",
            first,
            communities
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!("insert into articles (id, title, slug) values ($1, 'Load', 'load')", scenario.article() as _)
            .execute(&mut *db)
            .await?;
        sqlx::query!(
            "insert into community_articles (community_id, article_id)
             select $1::bigint + n, $3 from generate_series(0, $2::bigint - 1) n",
            first,
            communities,
            scenario.article() as _
        )
        .execute(&mut *db)
        .await?;
        // Reader n is in communities n, n + 1, ... as in `Scenario::communities_of`. A writer is in all communities.
        sqlx::query!(
            "insert into memberships (user_id, community_id, role)
             select $1::bigint + n, $1 + (n + step) % $2::bigint, 'member'
             from generate_series(0, $3::bigint - 1) n, generate_series(0, $4::bigint - 1) step
             union all
             select $1 + $3 + n, $1 + c, 'member'
             from generate_series(0, $5::bigint - 1) n, generate_series(0, $2 - 1) c",
            first,
            communities,
            readers,
            i64::from(args.memberships),
            writers
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!(
            "insert into discussions (id, community_id, article_id, author_id, topic, text)
             overriding system value
             select $1::bigint + c * $3::bigint + n, $1 + c, $4::bigint, $1, 'Topic ' || n, repeat('Some words of a discussion. ', 10)
             from generate_series(0, $2::bigint - 1) c, generate_series(0, $3::bigint - 1) n",
            first,
            communities,
            i64::from(scenario.discussions()),
            scenario.article() as _
        )
        .execute(&mut *db)
        .await?;
        transaction.commit().await?;
        // Plans for empty tables would be slow.
        sqlx::raw_sql("analyze users, communities, articles, community_articles, memberships, discussions")
            .execute(&mut self.0)
            .await?;
        Ok(())
    }

    /// Waits until the servers have numbered all committed events.
    pub(crate) async fn relayed(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        while sqlx::query_scalar!(r#"select exists (select from outbox where event_id is null) as "waiting!""#)
            .fetch_one(&mut self.0)
            .await?
        {
            ensure!(
                start.elapsed() < RELAY,
                "no server relays this database's events: do the servers use another DATABASE_URL?"
            );
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Gives the slot to the next run. The end of a connection does so too, but PostgreSQL may notice that later.
    pub(crate) async fn release(mut self) -> sqlx::Result<()> {
        sqlx::raw_sql("select pg_advisory_unlock_all()").execute(&mut self.0).await?;
        self.0.close().await
    }

    /// Deletes all rows of the slot's range. Their events stay until they are pruned, as all events do.
    pub(crate) async fn clean(&mut self, scenario: &Scenario) -> sqlx::Result<()> {
        let (first, end) = (scenario.ids().start, scenario.ids().end);
        let mut transaction = self.0.begin().await?;
        let db = &mut *transaction;
        // A server that is writing a comment at this moment waits for these locks, and then finds no discussion.
        sqlx::query!("select id from discussions where id >= $1 and id < $2 for update", first, end)
            .fetch_all(&mut *db)
            .await?;
        sqlx::query!("delete from comments where discussion_id >= $1 and discussion_id < $2", first, end)
            .execute(&mut *db)
            .await?;
        sqlx::query!("delete from discussions where id >= $1 and id < $2", first, end).execute(&mut *db).await?;
        sqlx::query!("delete from memberships where user_id >= $1 and user_id < $2", first, end)
            .execute(&mut *db)
            .await?;
        sqlx::query!("delete from community_articles where community_id >= $1 and community_id < $2", first, end)
            .execute(&mut *db)
            .await?;
        sqlx::query!("delete from communities where id >= $1 and id < $2", first, end).execute(&mut *db).await?;
        sqlx::query!("delete from articles where id >= $1 and id < $2", first, end).execute(&mut *db).await?;
        sqlx::query!("delete from users where id >= $1 and id < $2", first, end).execute(&mut *db).await?;
        transaction.commit().await
    }
}
