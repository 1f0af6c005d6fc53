//! The SQL of summaries.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::model::{Summary, SummaryRevision, SummaryRevisions};
use crate::{
    auth::{Viewer, access::CommunityAccess},
    authors::{Author, Identity},
    db::{Write, composite},
    directory::{Role, Visibility},
    error::{ErrorCode, Result},
    events::SummaryState,
    ids::{ArticleId, CommunityId, UserId},
    page::{self, PAGE_BYTES},
};

composite! {
    /// A summary with its author, if it has one. A statement calls the summary `s` and its author's user `u`.
    struct SummaryRow in query_summary! {
        community_id: CommunityId = "s.community_id",
        article_id: ArticleId = "s.article_id",
        text: String = "s.text",
        author: Option<Identity> = "case when s.pseudonym_id is null and u.id is not null then row(u.id, u.username, u.avatar_url, null::record) end",
        revision: i64 = "s.revision",
        created_at: DateTime<Utc> = "s.created_at",
        updated_at: DateTime<Utc> = "s.updated_at",
    }
}

composite! {
    /// A text of a summary with its author, if it has one. A statement calls the text `r` and its author's user `u`.
    struct RevisionRow in query_revision! {
        revision: i64 = "r.revision",
        text: String = "r.text",
        author: Option<Identity> = "case when r.pseudonym_id is null and u.id is not null then row(u.id, u.username, u.avatar_url, null::record) end",
        created_at: DateTime<Utc> = "r.created_at",
    }
}

impl From<SummaryRow> for Summary {
    fn from(row: SummaryRow) -> Self {
        Self {
            community_id: row.community_id,
            article_id: row.article_id,
            text: row.text,
            author: row.author.map(Author::from),
            revision: row.revision,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<RevisionRow> for SummaryRevision {
    fn from(row: RevisionRow) -> Self {
        Self {
            revision: row.revision,
            text: row.text,
            author: row.author.map(Author::from),
            created_at: row.created_at,
        }
    }
}

/// Reads a summary for `viewer`. `summary_not_found` if there is none.
pub(super) async fn get(
    db: impl PgExecutor<'_>,
    viewer: Option<&Viewer>,
    article: ArticleId,
    community: CommunityId,
) -> Result<Summary> {
    let found = query_summary!(
        r#"select c.kind as "kind: Visibility", m.role as "role?: Role", v.is_active as "viewer_is_active?",
                  ca.article_id is not null as "is_placed!",
                  case when may_read(c.kind, m.role, $3, v.is_active) then (select "#,
        r#" from summaries s left join users u on u.id = s.author_id
                       where s.community_id = c.id and s.article_id = ca.article_id and s.text is not null) end as "summary: SummaryRow"
           from communities c
           left join community_articles ca on ca.community_id = c.id and ca.article_id = $2
           left join memberships m on m.community_id = c.id and m.user_id = $3 and ($4::bigint[] is null or c.id = any($4))
           left join users v on v.id = $3
           where c.id = $1"#,
        community as _,
        article as _,
        viewer.map(|viewer| viewer.user_id) as _,
        viewer.and_then(|viewer| viewer.scope.as_sql()) as _
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::CommunityNotFound)?;
    let access = CommunityAccess {
        community_id: community,
        visibility: found.kind,
        role: found.role,
        viewer_is_active: found.viewer_is_active,
    };
    access.may_read_placement(viewer, found.is_placed)?;
    Ok(found.summary.ok_or(ErrorCode::SummaryNotFound)?.into())
}

/// Reads up to `limit` texts of a summary for `viewer`, newest first, up to about [`PAGE_BYTES`]. `summary_not_found` if there is no summary.
pub(super) async fn revisions(
    db: impl PgExecutor<'_>,
    viewer: Option<&Viewer>,
    article: ArticleId,
    community: CommunityId,
    before: Option<i64>,
    limit: i64,
) -> Result<SummaryRevisions> {
    let found = query_revision!(
        r#"select c.kind as "kind: Visibility", m.role as "role?: Role", v.is_active as "viewer_is_active?",
                  ca.article_id is not null as "is_placed!",
                  case when may_read(c.kind, m.role, $3, v.is_active) then exists (
                      select from summaries s
                      where s.community_id = c.id and s.article_id = ca.article_id and s.text is not null) end as "is_there",
                  case when may_read(c.kind, m.role, $3, v.is_active) then array(select "#,
        r#" from (
                           -- The size of a text is known without reading it.
                           select all_texts.revision, all_texts.text, all_texts.author_id, all_texts.pseudonym_id, all_texts.created_at,
                                  sum(octet_length(all_texts.text)) over (order by all_texts.revision desc rows unbounded preceding)
                                      - octet_length(all_texts.text) as bytes_before
                           from (
                               select s.revision, s.text, s.author_id, s.pseudonym_id, s.updated_at as created_at
                               from summaries s
                               where s.community_id = c.id and s.article_id = ca.article_id and s.text is not null
                                 and s.revision < coalesce($5::bigint, 9223372036854775807)
                               union all
                               (select e.revision, e.text, e.author_id, e.pseudonym_id, e.created_at
                                from summary_revisions e
                                where e.community_id = c.id and e.article_id = ca.article_id
                                  and e.revision < coalesce($5::bigint, 9223372036854775807)
                                order by e.revision desc limit $6::bigint + 1)
                               order by revision desc limit $6::bigint + 1
                           ) all_texts
                       ) r
                       left join users u on u.id = r.author_id
                       where r.bytes_before < $7
                       order by r.revision desc) end as "revisions: Vec<RevisionRow>"
           from communities c
           left join community_articles ca on ca.community_id = c.id and ca.article_id = $2
           left join memberships m on m.community_id = c.id and m.user_id = $3 and ($4::bigint[] is null or c.id = any($4))
           left join users v on v.id = $3
           where c.id = $1"#,
        community as _,
        article as _,
        viewer.map(|viewer| viewer.user_id) as _,
        viewer.and_then(|viewer| viewer.scope.as_sql()) as _,
        before,
        limit,
        PAGE_BYTES as i64
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::CommunityNotFound)?;
    let access = CommunityAccess {
        community_id: community,
        visibility: found.kind,
        role: found.role,
        viewer_is_active: found.viewer_is_active,
    };
    access.may_read_placement(viewer, found.is_placed)?;
    let rows = found.revisions.filter(|_| found.is_there == Some(true)).ok_or(ErrorCode::SummaryNotFound)?;
    let mut revisions: Vec<SummaryRevision> = rows.into_iter().map(SummaryRevision::from).collect();
    let fitting = page::fitting(revisions.iter(), limit as usize, PAGE_BYTES, |one| [one.text.as_str()]);
    let has_more = revisions.len() > fitting;
    revisions.truncate(fitting);
    let next_cursor = revisions.last().filter(|_| has_more).map(|last| last.revision.to_string());
    Ok(SummaryRevisions { revisions, next_cursor })
}

/// Locks the summary until the commit and reads it. If there is none, its row is made, so that two first texts take turns. None if there
/// is no text.
pub(super) async fn lock_or_begin(
    write: &mut Write,
    article: ArticleId,
    community: CommunityId,
) -> Result<Option<Summary>> {
    sqlx::query!(
        "insert into summaries (community_id, article_id, revision) values ($1, $2, 0) on conflict do nothing",
        community as _,
        article as _
    )
    .execute(&mut *write)
    .await?;
    lock(write, article, community).await
}

/// Locks the summary until the commit and reads it. None if there is no text.
///
/// Two statements, because a statement that waits for a row reads the others as they were before: the author of a text that was written
/// meanwhile would be missing.
pub(super) async fn lock(write: &mut Write, article: ArticleId, community: CommunityId) -> Result<Option<Summary>> {
    let locked = sqlx::query!(
        "select from summaries where community_id = $1 and article_id = $2 for no key update",
        community as _,
        article as _
    );
    if locked.fetch_optional(&mut *write).await?.is_none() {
        return Ok(None);
    }
    let found = query_summary!(
        "select ",
        r#" as "summary!: SummaryRow"
           from summaries s left join users u on u.id = s.author_id
           where s.community_id = $1 and s.article_id = $2 and s.text is not null"#,
        community as _,
        article as _
    );
    Ok(found.fetch_optional(write).await?.map(|found| found.summary.into()))
}

/// Writes a text of `author`, if it has one, in place of that of a summary that [`lock_or_begin`] has locked. The text before becomes a
/// revision.
pub(super) async fn write(
    write: &mut Write,
    article_id: ArticleId,
    community_id: CommunityId,
    author: Option<(UserId, Author)>,
    text: String,
) -> Result<Summary> {
    // The clock may be set back. The version must be another one nevertheless.
    let row = sqlx::query!(
        r#"with kept as (
               insert into summary_revisions (community_id, article_id, revision, author_id, pseudonym_id, text, created_at)
               select s.community_id, s.article_id, s.revision, s.author_id, s.pseudonym_id, s.text, s.updated_at
               from summaries s where s.community_id = $1 and s.article_id = $2 and s.text is not null
           ), now as (
               select greatest(clock_timestamp(), s.updated_at + interval '1 microsecond') as at
               from summaries s where s.community_id = $1 and s.article_id = $2
           )
           update summaries s
           set text = $3, author_id = $4, pseudonym_id = null, revision = s.revision + 1,
               created_at = case when s.text is null then now.at else s.created_at end, updated_at = now.at
           from now
           where s.community_id = $1 and s.article_id = $2
           returning s.revision, s.created_at, s.updated_at"#,
        community_id as _,
        article_id as _,
        text,
        author.as_ref().map(|(user, _)| *user) as _
    )
    .fetch_one(write)
    .await?;
    Ok(Summary {
        community_id,
        article_id,
        text,
        author: author.map(|(_, author)| author),
        revision: row.revision,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// Erases a summary that [`lock`] has locked, with its revisions, and returns what its event shows.
///
/// The row is locked before: a statement that waits for it reads the revisions as they were before, and a text that is replaced meanwhile
/// would stay among them.
pub(super) async fn erase(write: &mut Write, article_id: ArticleId, community_id: CommunityId) -> Result<SummaryState> {
    let row = sqlx::query!(
        r#"with erased as (
               delete from summary_revisions r where r.community_id = $1 and r.article_id = $2
           )
           update summaries s
           set text = null, author_id = null, pseudonym_id = null, revision = s.revision + 1,
               updated_at = greatest(clock_timestamp(), s.updated_at + interval '1 microsecond')
           where s.community_id = $1 and s.article_id = $2
           returning s.revision, s.created_at, s.updated_at"#,
        community_id as _,
        article_id as _
    )
    .fetch_one(write)
    .await?;
    Ok(SummaryState {
        community_id,
        article_id,
        text: None,
        author: None,
        revision: row.revision,
        created_at: row.created_at,
        updated_at: row.updated_at,
        timestamp: row.updated_at,
        deleted_at: None,
    })
}
