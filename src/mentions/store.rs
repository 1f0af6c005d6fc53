//! The SQL of mentions.

use sqlx::PgExecutor;

use super::{model::Mentionable, parser};
use crate::{
    authors::{Author, Identity},
    db::Write,
    error::Result,
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, PseudonymId, UserId},
};

/// The most people whom a text mentions.
const MAX_MENTIONS: usize = 20;
/// The most people who are listed for completion.
const MAX_LISTED: i64 = 20;
/// Communities of up to this many members are read by their members, and others by the handles that begin as asked for.
const SMALL_COMMUNITY: i64 = 1_000;

/// Whom a text mentions: members by their names, then pseudonyms, each in the order of the text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mentions {
    users: Vec<UserId>,
    pseudonyms: Vec<PseudonymId>,
    /// Who has the pseudonyms, in their order. It must not leave the server.
    behind_pseudonyms: Vec<UserId>,
    /// How they are shown.
    pub(crate) shown: Vec<Author>,
}

impl Mentions {
    /// The members, as the column `mentioned_users` has them: null for none.
    pub(crate) fn users(&self) -> Option<&[UserId]> {
        Some(self.users.as_slice()).filter(|users| !users.is_empty())
    }

    /// The pseudonyms, as the column `mentioned_pseudonyms` has them: null for none.
    pub(crate) fn pseudonyms(&self) -> Option<&[PseudonymId]> {
        Some(self.pseudonyms.as_slice()).filter(|pseudonyms| !pseudonyms.is_empty())
    }

    /// Whom to notify, one for each mention: a user may be here twice.
    pub(crate) fn recipients(&self) -> Vec<UserId> {
        [self.users.as_slice(), &self.behind_pseudonyms].concat()
    }

    fn add(&mut self, row: &HandleRow) {
        let is_new = match row.pseudonym_id {
            Some(pseudonym) => !self.pseudonyms.contains(&pseudonym),
            None => !self.users.contains(&row.user_id),
        };
        if !is_new || self.users.len() + self.pseudonyms.len() == MAX_MENTIONS {
            return;
        }
        let (name, avatar_url) = (row.username.clone(), row.avatar_url.clone());
        match row.pseudonym_id {
            Some(pseudonym) => {
                self.pseudonyms.push(pseudonym);
                self.behind_pseudonyms.push(row.user_id);
                self.shown.push(Author::pseudonymous(name, avatar_url));
            }
            None => {
                let user_id = row.user_id;
                let author = Author::from(Identity { user_id, username: name, avatar_url, pseudonym: None });
                self.shown.insert(self.users.len(), author);
                self.users.push(user_id);
            }
        }
    }
}

/// Somebody who has a handle that a text may mean.
struct HandleRow {
    /// The handle's place among those that were asked for.
    place: i64,
    /// Whether it is theirs in upper and lower case too.
    is_exact: bool,
    /// Whether they may be mentioned here.
    is_mentionable: bool,
    user_id: UserId,
    pseudonym_id: Option<PseudonymId>,
    username: String,
    avatar_url: Option<String>,
}

/// Finds out whom a text on an article of a community mentions. Whoever has a pseudonym there, and whether its owner is still a member,
/// makes no difference to what a name or a pseudonym means.
///
/// A handle means whoever has it on the whole site. If they may not be mentioned here, the place means nobody: `@ada.lovelace` does not
/// mean `ada` because `ada.lovelace` has left. So a writer can learn that a name exists, and nothing more. Names are public: every
/// text in a public community shows some.
///
/// The rows of all who have such a name are held until the commit, so that a rename comes after the event with the name.
pub(crate) async fn resolve(
    write: &mut Write,
    community: CommunityId,
    article: ArticleId,
    text: &str,
) -> Result<Mentions> {
    let mut mentions = Mentions::default();
    let places = parser::places(text);
    if places.is_empty() {
        return Ok(mentions);
    }
    let handles: Vec<String> = places.iter().flatten().cloned().collect();
    let rows = sqlx::query_as!(
        HandleRow,
        r#"with asked as (
               select handle, place from unnest($3::text[]) with ordinality as a (handle, place)
           ), people as (
               select a.place, u.username = a.handle as is_exact, u.is_active and member.is_one is not null as is_mentionable,
                      u.id, u.username, u.avatar_url
               from asked a
               join users u on lower(u.username) = lower(a.handle)
               -- `offset 0`: PostgreSQL would read all members, as for notifications.
               left join lateral (
                   select true as is_one from memberships m where m.user_id = u.id and m.community_id = $1 offset 0) member on true
               order by u.id
               for share of u
           )
           select place as "place!", is_exact as "is_exact!", is_mentionable as "is_mentionable!", id as "user_id!: UserId",
                  null::bigint as "pseudonym_id: PseudonymId", username as "username!", avatar_url
           from people
           union all
           select a.place, replace(p.name, ' ', '-') = a.handle, true, p.user_id, p.id, p.name, p.avatar_url
           from pseudonyms p join asked a on lower(replace(p.name, ' ', '-')) = lower(a.handle)
           where p.community_id = $1 and p.article_id = $2"#,
        community as _,
        article as _,
        &handles
    )
    .fetch_all(write)
    .await?;
    let mut first = 1;
    for place in &places {
        let called: Vec<Vec<&HandleRow>> =
            (first..).zip(place).map(|(at, _)| rows.iter().filter(|row| row.place == at).collect()).collect();
        if let Some(row) = meant(place, &called) {
            mentions.add(row);
        }
        first += place.len() as i64;
    }
    Ok(mentions)
}

/// Who is meant by a place of a text, of those who are called by each of its handles.
///
/// The longest handle that is a pseudonym goes before all names, so that nobody can take a name that changes what a pseudonym means.
/// Otherwise it is the longest handle that anybody has.
fn meant<'a>(handles: &[String], called: &[Vec<&'a HandleRow>]) -> Option<&'a HandleRow> {
    let has_pseudonym = |people: &&Vec<&HandleRow>| people.iter().any(|row| row.pseudonym_id.is_some());
    if let Some(people) = called.iter().find(has_pseudonym) {
        return only(people);
    }
    let counts = |(handle, people): &(&String, &Vec<&HandleRow>)| {
        // The mark at the end may be that of the sentence. `ada.`, who is not here, does not hide `ada`.
        people.iter().any(|row| row.is_mentionable) || !people.is_empty() && !parser::ends_like_a_sentence(handle)
    };
    handles.iter().zip(called).find(counts).and_then(|(_, people)| only(people))
}

/// The one of these people who is meant: a pseudonym goes before a name, and the exact handle before others. None if there are several,
/// or if nobody of them may be mentioned.
fn only<'a>(called: &[&'a HandleRow]) -> Option<&'a HandleRow> {
    let rank = |row: &HandleRow| (row.is_mentionable, row.pseudonym_id.is_some(), row.is_exact);
    let best = called.iter().map(|row| rank(row)).max().filter(|(is_mentionable, ..)| *is_mentionable)?;
    let mut meant = called.iter().filter(|row| rank(row) == best);
    meant.next().copied().filter(|_| meant.next().is_none())
}

/// Holds the rows of these users until the commit, so that a rename comes after the event that shows their names.
pub(crate) async fn hold_names(write: &mut Write, users: &[UserId]) -> Result<()> {
    if !users.is_empty() {
        let held = sqlx::query!("select from users where id = any($1) order by id for share", users as _);
        held.execute(write).await?;
    }
    Ok(())
}

/// What an edit changes about whom a text mentions.
pub(crate) struct ChangedMentions {
    /// Whom to notify, one for each mention that is new.
    pub added: Vec<UserId>,
    /// How many mentions are gone.
    removed: usize,
    /// Whom it mentions as before. If a new mention is of somebody whose other mention is gone, they are notified anew: as if the two
    /// were of two people.
    kept: Vec<UserId>,
}

impl ChangedMentions {
    /// What has changed from the ids that the text's row had before.
    pub(crate) fn new(users: Option<&[UserId]>, pseudonyms: Option<&[PseudonymId]>, now: &Mentions) -> Self {
        let (users, pseudonyms) = (users.unwrap_or_default(), pseudonyms.unwrap_or_default());
        let by_name = now.users.iter().map(|user| (*user, users.contains(user)));
        let behind = now.pseudonyms.iter().zip(&now.behind_pseudonyms);
        let by_pseudonym = behind.map(|(pseudonym, user)| (*user, pseudonyms.contains(pseudonym)));
        let (kept, added): (Vec<_>, Vec<_>) = by_name.chain(by_pseudonym).partition(|(_, was_there)| *was_there);
        let ids = |people: Vec<(UserId, bool)>| people.into_iter().map(|(user, _)| user).collect::<Vec<_>>();
        Self { removed: users.len() + pseudonyms.len() - kept.len(), kept: ids(kept), added: ids(added) }
    }
}

/// Withdraws the notifications of those whom the text of a comment, or of the discussion itself, mentions no more: as many as mentions
/// are gone, where there are pseudonyms (migration 0023). Whom the text concerns anyway keeps theirs, as one of another kind.
pub(crate) async fn withdraw(
    write: &mut Write,
    discussion: DiscussionId,
    comment: Option<CommentId>,
    changed: &ChangedMentions,
) -> Result<()> {
    if changed.removed > 0 {
        keep_for_another_reason(write, discussion, comment, changed).await?;
        sqlx::query!(
            r#"select withdraw_notifications(array(
                   select id from notifications
                   where discussion_id = $1 and coalesce(comment_id, 0) = coalesce($2::bigint, 0) and kind = 'mention'
                     and (user_id is null or user_id <> all($3))
                   order by user_id nulls last limit $4)) as "withdrawn: ()""#,
            discussion as _,
            comment as _,
            &changed.kept as _,
            changed.removed as i64
        )
        .execute(write)
        .await?;
    }
    Ok(())
}

/// Gives the notification of a mention that is gone the kind that it would have without the mention, if the text is also a reply to the
/// user, or in their discussion, or on their article. It stays read or unread, and no event tells of it.
///
/// Where there are pseudonyms, the user was addressed twice, so there is also a row of nobody of that kind. The two rows change kinds,
/// and the row of nobody is withdrawn in the place of the user's. So there are as many rows and events as for two people. Without such
/// a row, that of the mention is withdrawn there.
async fn keep_for_another_reason(
    write: &mut Write,
    discussion: DiscussionId,
    comment: Option<CommentId>,
    changed: &ChangedMentions,
) -> Result<()> {
    sqlx::query!(
        r#"with own as (
               select n.id, also.kind, row_number() over (partition by also.kind order by n.id) as number
               from notifications n
               join discussions d on d.id = n.discussion_id
               left join comments k on k.id = n.comment_id
               left join comments parent on parent.id = k.parent_id
               cross join lateral (
                   select case
                       when parent.author_id = n.user_id then 'reply'
                       when k.id is not null then case when d.author_id = n.user_id then 'comment' end
                       when exists (select from articles a where a.id = d.article_id and a.submitter_id = n.user_id)
                         or exists (select from memberships m
                                    where m.user_id = n.user_id and m.community_id = d.community_id and m.role = 'admin')
                           then 'discussion'
                   end as kind) also
               where n.discussion_id = $1 and coalesce(n.comment_id, 0) = coalesce($2::bigint, 0) and n.kind = 'mention'
                 and n.user_id <> all($3) and also.kind is not null
           ), nobodys as (
               select id, kind, row_number() over (partition by kind order by id) as number
               from notifications
               where discussion_id = $1 and coalesce(comment_id, 0) = coalesce($2::bigint, 0) and user_id is null
           )
           update notifications n
           set kind = case when n.id = own.id then own.kind else 'mention' end
           from own left join nobodys on nobodys.kind = own.kind and nobodys.number = own.number
           where (n.id = own.id or n.id = nobodys.id)
             and (nobodys.id is not null or not has_pseudonyms(n.community_id, n.article_id))"#,
        discussion as _,
        comment as _,
        // Whom the text mentions anew is told of that.
        &[changed.kept.as_slice(), &changed.added].concat() as _
    )
    .execute(write)
    .await?;
    Ok(())
}

/// Whether the database's locale knows letters that are not ASCII. Without them nobody with such a letter in their name is listed, and
/// upper and lower case of such letters are not the same.
pub(crate) async fn locale_has_all_letters(db: impl PgExecutor<'_>) -> Result<bool> {
    let has_all = sqlx::query_scalar!(r#"select lower('Å') = 'å' and 'å' ~ '^[[:alnum:]]$' as "has_all!""#);
    Ok(has_all.fetch_one(db).await?)
}

/// The members of a community whose handles begin with `prefix`: those whose names a text can mention ([`parser::places`]).
pub(super) async fn members(db: impl PgExecutor<'_>, community: CommunityId, prefix: &str) -> Result<Vec<Mentionable>> {
    let rows = sqlx::query!(
        r#"with few as materialized (
               select user_id from memberships where community_id = $1 limit $4::bigint + 1
           )
           select id as "id!: UserId", username as "username!", avatar_url
           from (
               (select u.id, u.username, u.avatar_url
                from few join users u on u.id = few.user_id
                where (select count(*) from few) <= $4 and u.is_active and starts_with(lower(u.username), lower($2))
                  and u.username ~ '^([_.+-][_.+@-]*)?(?!_)\w[\w.+@-]*$'
                order by lower(u.username) using ~<~, u.id limit $3)
               union all
               (select u.id, u.username, u.avatar_url
                from users u
                where (select count(*) from few) > $4 and u.is_active
                  and lower(u.username) ~>=~ lower($2) and lower(u.username) ~<~ (lower($2) || chr(1114111))
                  and u.username ~ '^([_.+-][_.+@-]*)?(?!_)\w[\w.+@-]*$'
                  and exists (select from memberships m where m.user_id = u.id and m.community_id = $1)
                order by lower(u.username) using ~<~, u.id limit $3)
           ) found
           order by lower(username) using ~<~, id"#,
        community as _,
        prefix,
        MAX_LISTED,
        SMALL_COMMUNITY
    )
    .fetch_all(db)
    .await?;
    let members = rows.into_iter().map(|row| {
        let handle = row.username.clone();
        let identity =
            Identity { user_id: row.id, username: row.username, avatar_url: row.avatar_url, pseudonym: None };
        Mentionable { author: Author::from(identity), handle }
    });
    Ok(members.collect())
}

/// The pseudonyms on an article whose handles begin with `prefix`, by name. They say nothing of the people: not of those who have left
/// either.
pub(super) async fn pseudonyms(
    db: impl PgExecutor<'_>,
    community: CommunityId,
    article: ArticleId,
    prefix: &str,
) -> Result<Vec<Mentionable>> {
    let rows = sqlx::query!(
        r#"select name, avatar_url, replace(name, ' ', '-') as "handle!" from pseudonyms
           where community_id = $1 and article_id = $2
             and starts_with(lower(replace(name, ' ', '-')), lower(replace($3, ' ', '-')))
           order by name collate "C" limit $4"#,
        community as _,
        article as _,
        prefix,
        MAX_LISTED
    )
    .fetch_all(db)
    .await?;
    let members = rows
        .into_iter()
        .map(|row| Mentionable { author: Author::pseudonymous(row.name, row.avatar_url), handle: row.handle });
    Ok(members.collect())
}
