//! What things are numbered with. All ids are Postgres `bigint`s, which JSON carries as numbers.

/// A person of the directory.
pub type UserId = i64;
/// A community of the directory.
pub type CommunityId = i64;
/// A paper of the directory.
pub type ArticleId = i64;
/// A discussion.
pub type DiscussionId = i64;
/// A comment.
pub type CommentId = i64;
/// A place in the total order of events: contiguous from 1. 0 is "before the first".
pub type EventId = i64;
/// A user's registration for events: random, so that it cannot be guessed.
pub type QueueId = uuid::Uuid;
