//! Measures what PostgreSQL takes for that which is one member's own: what is unread, what they are notified of, what they follow, and
//! whom they may mention. The member is in 50 communities with 500 articles and 100,000 comments, and follows all of it.

use crate::{
    Bench,
    requests::pgbench,
    samples::Samples,
    statements::{READER, Scripts},
};

/// The goal of DESIGN's section on speed for what is unread, in milliseconds.
const GOAL: &str = "<= 10";

/// The times of the handlers' statements over one connection, in milliseconds.
#[derive(Default)]
pub(crate) struct Member {
    pub(crate) unread: Samples,
    notifications: Samples,
    follows: Samples,
    completion: Samples,
    discussions: String,
    comments: String,
}

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Member> {
    seed(bench)?;
    let scripts = Scripts::new(&bench.root)?;
    let mut member = Member::default();
    for _ in 0..bench.settings.repeats {
        for (samples, script) in [
            (&mut member.unread, &scripts.unread),
            (&mut member.notifications, &scripts.notifications),
            (&mut member.follows, &scripts.follows),
            (&mut member.completion, &scripts.completion),
        ] {
            samples.record(pgbench(bench, script, 1, bench.settings.seconds, &[])?.milliseconds);
        }
    }
    let of_reader = "from discussions d join memberships m on m.community_id = d.community_id and m.user_id =";
    member.discussions = bench.database.run(&format!("select count(*) {of_reader} {READER}"))?;
    member.comments = bench.database.run(&format!("select sum(comment_count) {of_reader} {READER}"))?;
    Ok(member)
}

/// The reader follows all articles. Each article has two discussions of 100 comments. The reader has read half of the discussions, a quarter up to the middle, and has not
/// opened the others. Twenty others have read everything.
fn seed(bench: &Bench) -> anyhow::Result<()> {
    bench.database.run(&format!(
        "begin;
        insert into users (id, username) select n, 'member-' || n from generate_series({READER}, {READER} + 20) n;
        insert into communities (id, name, slug, kind)
            select n, 'Member ' || n, 'member-' || n, 'private' from generate_series({READER}, {READER} + 49) n;
        insert into articles (id, title, slug)
            select n, 'Unread ' || n, 'member-' || n from generate_series({READER}, {READER} + 499) n;
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
        insert into notifications (user_id, kind, community_id, article_id, discussion_id, comment_id, is_read)
            select {READER}, 'comment', d.community_id, d.article_id, d.id, k.id, k.id % 2 = 0
            from comments k join discussions d on d.id = k.discussion_id where k.id between {READER} and {READER} + 9999;
        -- The members of the first community have names that begin alike.
        insert into memberships (user_id, community_id, role)
            select id, {READER}, 'member' from users where id between 1000 and 10999;
        commit"
    ))?;
    bench.database.run("vacuum analyze")?;
    Ok(())
}

pub(crate) fn table(member: &Member) -> String {
    let Member { discussions, comments, .. } = member;
    let rows = [
        (
            format!(
                "`GET /unread?followed=true`, of 500 articles with {discussions} discussions and {comments} comments"
            ),
            &member.unread,
            GOAL,
        ),
        ("`GET /notifications`, of 10,000".to_owned(), &member.notifications, ""),
        ("`GET /follows`, of 500 articles".to_owned(), &member.follows, ""),
        ("`GET /communities/{id}/members?prefix`, of 10,000 whose names begin so".to_owned(), &member.completion, ""),
    ];
    let rows = rows.map(|(what, samples, goal)| format!("| {what} | {} | {goal} |\n", samples.spread(2, 2)));
    format!(
        "
### What is a member's own

The handlers' statements over one connection, for a member of 50 communities.

| | ms | goal |
| --- | --- | --- |
{}",
        rows.concat()
    )
}
