//! Decides what a viewer may do. Handlers call one of the functions here, which return the row that they load, or a refusal.
//!
//! Anyone may read a public or an open community. Only members may read a private or a hidden one: others get 403 for what is in a
//! private community, and 404 for what is in a hidden one. Members may write, and in an open community everyone who is signed in.
//!
//! A place is an article in a community. If the article or the community is removed, nobody writes there any more. People may still
//! delete what they wrote themselves.

mod rows;

use sqlx::PgExecutor;

pub(crate) use self::rows::{
    CommentingAccess, PlacementAccess, comment_to_delete, comment_to_write, community_of_member,
    discussion_to_comment_in, discussion_to_delete, discussion_to_mark, discussion_to_write, placement_to_mark,
    placement_to_write,
};
use super::viewer::Viewer;
use crate::{
    directory::{Role, Visibility},
    error::{ErrorCode, Result},
    ids::CommunityId,
};

/// What a viewer's access to a community depends on. Each statement that decides on access reads all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommunityAccess {
    /// The community.
    pub community_id: CommunityId,
    /// Who may read the community.
    pub visibility: Visibility,
    /// The viewer's role. None if the viewer is not a member, or if the community is not in the token's scope.
    pub role: Option<Role>,
    /// Whether the viewer's account is active. None if nobody is signed in, or if the account is deleted. It is read each time, so
    /// that no token and no session is valid longer than the account.
    pub viewer_is_active: Option<bool>,
}

impl CommunityAccess {
    /// Checks that the viewer may read. `missing` is the refusal for a non-member of a hidden community. A statement that reads
    /// discussions or comments has the same condition, the function `may_read` of migration 0012, so that it reads none for a
    /// viewer who is refused here.
    pub(crate) fn may_read(&self, viewer: Option<&Viewer>, missing: ErrorCode) -> Result<()> {
        match (self.role, self.visibility) {
            // Decided before the account is looked at, because any other refusal would reveal that the community exists.
            (None, Visibility::Hidden) => Err(missing.into()),
            _ if viewer.is_some() && self.viewer_is_active != Some(true) => Err(ErrorCode::TokenInvalid.into()),
            (Some(_), _) | (None, Visibility::Public | Visibility::Open) => Ok(()),
            (None, Visibility::Private) if viewer.is_none() => Err(ErrorCode::TokenMissing.into()),
            (None, Visibility::Private) => Err(ErrorCode::NotAMember.into()),
        }
    }

    /// Checks that the viewer may read what is about an article in this community. `is_placed` says whether the article is there.
    pub(crate) fn may_read_placement(&self, viewer: Option<&Viewer>, is_placed: bool) -> Result<()> {
        match (is_placed, self.visibility) {
            (true, _) => self.may_read(viewer, ErrorCode::CommunityNotFound),
            // The answer must not tell whether the article is in a hidden community.
            (false, Visibility::Hidden) => Err(ErrorCode::CommunityNotFound.into()),
            (false, _) => Err(ErrorCode::ArticleNotFound.into()),
        }
    }

    /// Checks that the viewer may write, and returns their role, which is None for a non-member in an open community. `missing` is the
    /// refusal for a non-member of a hidden community.
    pub(crate) fn may_write(&self, viewer: &Viewer, missing: ErrorCode) -> Result<Option<Role>> {
        match (self.role, self.visibility) {
            (None, Visibility::Hidden) => Err(missing.into()),
            _ if self.viewer_is_active != Some(true) => Err(ErrorCode::TokenInvalid.into()),
            _ if self.is_writer(Some(viewer)) => Ok(self.role),
            _ => Err(ErrorCode::NotAMember.into()),
        }
    }

    /// Whether a viewer with an active account may write, and so vote.
    pub(crate) fn is_writer(&self, viewer: Option<&Viewer>) -> bool {
        let may_write_here = |viewer: &Viewer| viewer.scope.allows(self.community_id);
        self.role.is_some() || (self.visibility == Visibility::Open && viewer.is_some_and(may_write_here))
    }
}

/// What somebody wants to do in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To write or change what others read, and to vote.
    Write,
    /// To say what they have read or want to hear of, or to look for members. Nobody else is concerned.
    Mark,
    /// To delete what they wrote themselves.
    DeleteOwn,
}

/// Whether a place is removed.
#[derive(Clone, Copy, Debug)]
struct Removal {
    /// Whether the community is removed. It has no members any more.
    of_community: bool,
    /// Whether the article is removed from the community.
    of_article: bool,
}

impl CommunityAccess {
    /// Checks that the viewer may do this, and returns their role as [`may_write`](Self::may_write) does. Whoever may read a removed
    /// place gets `place_removed`. The others get the same refusal as in any place.
    fn may(&self, purpose: Purpose, removal: Removal, viewer: &Viewer, missing: ErrorCode) -> Result<Option<Role>> {
        let is_removed = removal.of_community || removal.of_article;
        match purpose {
            Purpose::Write if is_removed => {
                self.may_read(Some(viewer), missing)?;
                Err(ErrorCode::PlaceRemoved.into())
            }
            // Their membership has ended with the community.
            Purpose::DeleteOwn if removal.of_community => match self.viewer_is_active {
                Some(true) if viewer.scope.allows(self.community_id) => Ok(self.role),
                _ => self.may_write(viewer, missing),
            },
            Purpose::Write | Purpose::Mark | Purpose::DeleteOwn => self.may_write(viewer, missing),
        }
    }
}

/// The role of a writer, for what takes membership. `not_a_member` for a non-member in an open community.
pub(crate) fn require_membership(role: Option<Role>) -> Result<Role> {
    role.ok_or_else(|| ErrorCode::NotAMember.into())
}

/// Checks that the viewer's account is active, for what concerns no community.
pub(crate) async fn active_account(db: impl PgExecutor<'_>, viewer: &Viewer) -> Result<()> {
    let is_active = sqlx::query_scalar!("select is_active from users where id = $1", viewer.user_id as _);
    match is_active.fetch_optional(db).await? {
        Some(true) => Ok(()),
        Some(false) | None => Err(ErrorCode::TokenInvalid.into()),
    }
}
