//! Measures what `GET /unread` costs PostgreSQL: everything that is unread for a member of 50 communities with 500 articles and 100,000
//! comments in them.

use crate::{
    Bench,
    requests::pgbench,
    samples::Samples,
    statements::{READER, Scripts},
};

/// The goal of DESIGN's section on speed, in milliseconds.
const GOAL: f64 = 10.0;

#[derive(Default)]
pub(crate) struct Unread {
    /// The time of the statement over one connection, in milliseconds.
    pub(crate) milliseconds: Samples,
    discussions: String,
    comments: String,
}

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Unread> {
    seed(bench)?;
    let script = Scripts::new(&bench.root)?.unread;
    let mut unread = Unread::default();
    for _ in 0..bench.settings.repeats {
        let measured = pgbench(bench, &script, 1, bench.settings.seconds, &[])?;
        unread.milliseconds.record(measured.milliseconds);
    }
    let of_reader = "from discussions d join memberships m on m.community_id = d.community_id and m.user_id =";
    unread.discussions = bench.database.run(&format!("select count(*) {of_reader} {READER}"))?;
    unread.comments = bench.database.run(&format!("select sum(comment_count) {of_reader} {READER}"))?;
    Ok(unread)
}

/// The reader follows all articles. Each article has two discussions of 100 comments. The reader has read half of the discussions, a quarter up to the middle, and has not
/// opened the others. Twenty others have read everything.
fn seed(bench: &Bench) -> anyhow::Result<()> {
    bench.database.run(&format!(
        "begin;
        insert into users (id, username) select n, 'unread-' || n from generate_series({READER}, {READER} + 20) n;
        insert into communities (id, name, slug, kind)
            select n, 'Unread ' || n, 'unread-' || n, 'private' from generate_series({READER}, {READER} + 49) n;
        insert into articles (id, title, slug)
            select n, 'Unread ' || n, 'unread-' || n from generate_series({READER}, {READER} + 499) n;
        insert into community_articles (community_id, article_id)
            select {READER} + n % 50, {READER} + n from generate_series(0, 499) n;
        insert into memberships (user_id, community_id, role, created_at)
            select {READER}, n, 'member', now() - interval '1 year' from generate_series({READER}, {READER} + 49) n;
        insert into article_follows (user_id, community_id, article_id, level)
            select {READER}, community_id, article_id, 'follow' from community_articles where article_id >= {READER};
        insert into discussions (id, community_id, article_id, author_id, topic, text, comment_count) overriding system value
            select {READER} + n, {READER} + n % 50, {READER} + n % 500, {READER} + 1 + n % 20, 'Topic ' || n, 'Text', 100
            from generate_series(0, 999) n;
        insert into comments (id, discussion_id, root_id, depth, author_id, text, created_at, updated_at) overriding system value
            select {READER} + n, {READER} + n % 1000, {READER} + n, 1, {READER} + 1 + n / 1000 % 20,
                repeat('Some words of a comment. ', 9), at, at
            from generate_series(0, 99999) n, (select now() - interval '1 day') as before (at);
        insert into read_states (user_id, discussion_id, is_read, comments, unread_count, first_unread, comment_version, joined_at)
            select m.user_id, d.id, true, read, counted.count, counted.first, d.comment_version, m.created_at
            from memberships m
            join discussions d on d.community_id = m.community_id and d.id < {READER} + 750
            cross join lateral (select int8multirange(int8range(1, case when d.id < {READER} + 500 then {READER} + 100000 else {READER} + 50000 end))) as marks (read)
            cross join lateral count_unread(d.id, m.user_id, m.created_at, read) counted
            where m.user_id = {READER};
        insert into read_states (user_id, discussion_id, is_read, comments)
            select {READER} + reader, {READER} + n, true, int8multirange(int8range(1, {READER} + 100000))
            from generate_series(0, 999) n, generate_series(1, 20) reader;
        commit"
    ))?;
    bench.database.run("vacuum analyze")?;
    Ok(())
}

pub(crate) fn table(unread: &Unread) -> String {
    let (measured, discussions, comments) = (unread.milliseconds.spread(1, 1), &unread.discussions, &unread.comments);
    format!(
        "
### What is unread

| | ms | goal |
| --- | --- | --- |
| `GET /unread?followed=true` of a member of 50 communities who follows 500 articles with {discussions} discussions and {comments} comments: the statement, over one connection | {measured} | <= {GOAL} |
"
    )
}
