//! The users, communities and discussions of a run, created in the database.

use std::time::Duration;

use anyhow::{Result, ensure};
use discussions::auth::jwt;
use sqlx::PgPool;
use tokio::time::{Instant, sleep};

/// The ordinary users' community. Attacker 0 is a member too.
pub(crate) const HOME: i64 = 1;
/// The attackers' community.
pub(crate) const ELSEWHERE: i64 = 2;
/// A public community.
pub(crate) const PUBLIC: i64 = 3;
/// A hidden community without attackers.
pub(crate) const HIDDEN: i64 = 4;
/// The article of all discussions.
pub(crate) const ARTICLE: i64 = 1;

const ORDINARY: i64 = 1;
const ATTACKERS: i64 = 1_000;
/// The number of ordinary users.
pub(crate) const ORDINARY_PEOPLE: i64 = 12;
/// The number of attackers.
pub(crate) const ATTACKING_PEOPLE: i64 = 60;
/// The first of the voters, who are members of [`HOME`].
const VOTERS: i64 = 5_000;
/// The number of voters.
pub(crate) const VOTING_PEOPLE: i64 = 250;
/// The comment that they vote on. Ordinary users write in its discussion.
pub(crate) const HOT_COMMENT: i64 = 3_000_000;
/// The number of large events in [`ELSEWHERE`], all after the old cursor.
const LARGE_EVENTS: i64 = 1_000;
/// The characters of each.
const LARGE_CHARACTERS: i64 = 50_000;

pub(crate) struct People {
    pool: PgPool,
    secret: String,
    /// The newest event before the large ones.
    pub old_cursor: i64,
}

impl People {
    /// Creates them in an empty, migrated database.
    pub(crate) async fn create(database_url: &str, secret: &str) -> Result<Self> {
        let pool = PgPool::connect(database_url).await?;
        let sql = format!(
            "insert into users (id, username) select {ORDINARY} + n, 'ordinary-' || n from generate_series(0, {ORDINARY_PEOPLE} - 1) n;
             insert into users (id, username) select {ATTACKERS} + n, 'attacker-' || n from generate_series(0, {ATTACKING_PEOPLE} - 1) n;
             insert into communities (id, name, slug, kind) values ({HOME}, 'Home', 'home', 'private'),
                 ({ELSEWHERE}, 'Elsewhere', 'elsewhere', 'private'), ({PUBLIC}, 'Public', 'public', 'public'),
                 ({HIDDEN}, 'Hidden', 'hidden', 'hidden');
             insert into articles (id, title, slug) values ({ARTICLE}, 'Article', 'article');
             insert into community_articles (community_id, article_id) select id, {ARTICLE} from communities;
             insert into memberships (user_id, community_id, role)
                 select id, {HOME}, 'member' from users where id < {ATTACKERS} or id = {ATTACKERS}
                 union all select id, {ELSEWHERE}, 'member' from users where id >= {ATTACKERS}
                 union all select {ORDINARY}, {HIDDEN}, 'member';
             insert into discussions (id, community_id, article_id, author_id, topic, text) overriding system value
                 select community * 1000 + n, community, {ARTICLE}, {ORDINARY}, 'Topic ' || n, repeat('Some words. ', 30)
                 from generate_series(1, 4) community, generate_series(0, 99) n;
             insert into comments (discussion_id, root_id, parent_id, depth, author_id, text, created_at, updated_at, id)
                 overriding system value
                 select {HIDDEN} * 1000, 1000000 + n, null::bigint, 1, {ORDINARY}, repeat('x', 40000), now(), now(), 1000000 + n
                 from generate_series(0, 99) n
                 union all
                 select {HOME} * 1000, {HOT_COMMENT}, null, 1, {ORDINARY}, 'Vote on this.', now(), now(), {HOT_COMMENT};
             insert into users (id, username) select {VOTERS} + n, 'voter-' || n from generate_series(0, {VOTING_PEOPLE} - 1) n;
             insert into memberships (user_id, community_id, role)
                 select {VOTERS} + n, {HOME}, 'member' from generate_series(0, {VOTING_PEOPLE} - 1) n;"
        );
        sqlx::raw_sql(&sql).execute(&pool).await?;
        sqlx::raw_sql("analyze").execute(&pool).await?;
        Ok(Self { pool, secret: secret.to_owned(), old_cursor: 0 })
    }

    /// Writes the large events and waits until the relay has numbered them.
    pub(crate) async fn write_large_events(&mut self) -> Result<()> {
        self.relayed().await?;
        self.old_cursor = sqlx::query_scalar("select last_assigned from event_head").fetch_one(&self.pool).await?;
        let sql = format!(
            "insert into outbox (community_id, type, payload)
             select {ELSEWHERE}, 'new_comment', json_build_object('type', 'new_comment', 'community_id', {ELSEWHERE},
                 'article_id', {ARTICLE}, 'discussion_id', {ELSEWHERE} * 1000, 'comment_id', 2000000 + n, 'parent_id', null,
                 'depth', 1, 'text', repeat('x', {LARGE_CHARACTERS}),
                 'author', json_build_object('id', {ATTACKERS}, 'username', 'attacker-0', 'avatar_url', null),
                 'comment_count', n, 'timestamp', now())
             from generate_series(1, {LARGE_EVENTS}) n"
        );
        sqlx::raw_sql(&sql).execute(&self.pool).await?;
        self.relayed().await
    }

    async fn relayed(&self) -> Result<()> {
        let start = Instant::now();
        let sql = "select exists (select from outbox where event_id is null)";
        while sqlx::query_scalar::<_, bool>(sql).fetch_one(&self.pool).await? {
            ensure!(start.elapsed() < Duration::from_secs(60), "the relay does not number the events");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The token of ordinary user `index`.
    pub(crate) fn ordinary(&self, index: i64) -> Result<String> {
        jwt::mint(self.secret.as_str(), (ORDINARY + index % ORDINARY_PEOPLE).into(), None, 3_600)
    }

    /// The token of attacker `index`. Attacker 0 is also a member of [`HOME`].
    pub(crate) fn attacker(&self, index: i64) -> Result<String> {
        jwt::mint(self.secret.as_str(), (ATTACKERS + index % ATTACKING_PEOPLE).into(), None, 3_600)
    }

    /// The token of voter `index`.
    pub(crate) fn voter(&self, index: i64) -> Result<String> {
        jwt::mint(self.secret.as_str(), (VOTERS + index % VOTING_PEOPLE).into(), None, 3_600)
    }

    /// Fails if the sums of the votes on [`HOT_COMMENT`] are not those of its votes.
    pub(crate) async fn check_votes(&self) -> Result<()> {
        let sql =
            "select upvotes, downvotes, (select count(*) from comment_votes where comment_id = k.id and value = 1),
                          (select count(*) from comment_votes where comment_id = k.id and value = -1)
                   from comments k where id = $1";
        let (up, down, up_rows, down_rows): (i64, i64, i64, i64) =
            sqlx::query_as(sql).bind(HOT_COMMENT).fetch_one(&self.pool).await?;
        ensure!(
            (up, down) == (up_rows, down_rows),
            "{up} up and {down} down are shown of {up_rows} and {down_rows} votes"
        );
        Ok(())
    }
}
