//! Who has resolved a discussion, and how they are shown.

use super::store::LockedDiscussion;
use crate::{
    authors::store::{ResolvedAuthor, resolve},
    db::Write,
    error::{ApiError, Result},
    ids::UserId,
};

/// Who has resolved a discussion.
pub(super) struct Resolver {
    pub user_id: UserId,
    /// How others see them.
    pub shown: ResolvedAuthor,
}

/// Who has resolved `locked` once a change by `viewer` leaves it resolved: whoever resolved it before, otherwise `viewer`. None
/// if it was resolved before and nobody knows by whom. `is_pseudonymous` says whether people show a pseudonym there now.
///
/// The row of a person who is shown by name is held until the commit, so that a rename comes after the event with that name.
pub(super) async fn resolver(
    write: &mut Write,
    locked: &LockedDiscussion,
    viewer: UserId,
    is_pseudonymous: bool,
) -> Result<Option<Resolver>> {
    let discussion = &locked.discussion;
    let (user_id, is_pseudonymous) = match (discussion.is_resolved, locked.resolver_id) {
        (false, _) => (viewer, is_pseudonymous),
        (true, None) => return Ok(None),
        (true, Some(user_id)) if locked.resolver_pseudonym_id.is_some() => {
            let author = discussion.resolved_by.clone();
            let author = author.ok_or_else(|| ApiError::internal("the pseudonym of a resolver is missing"))?;
            let shown = ResolvedAuthor { pseudonym_id: locked.resolver_pseudonym_id, author };
            return Ok(Some(Resolver { user_id, shown }));
        }
        (true, Some(user_id)) => (user_id, false),
    };
    let shown = match &discussion.author {
        // The author is shown as the author, also if the article was not pseudonymous when the discussion was begun, or is not
        // any more. Another name would tell that the two are one person.
        Some(author) if user_id == locked.author_id => {
            ResolvedAuthor { pseudonym_id: locked.author_pseudonym_id, author: author.clone() }
        }
        _ => resolve(write, user_id, discussion.community_id, discussion.article_id, is_pseudonymous).await?,
    };
    Ok(Some(Resolver { user_id, shown }))
}
