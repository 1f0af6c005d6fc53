//! Ids. Each kind is a type of its own, so that two ids cannot change places.
//!
//! In JSON, in the database and in memory, an id is only the number or the UUID that it holds.

use std::{borrow::Cow, fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::{PartialSchema, ToSchema, openapi};

/// Declares the type of a kind of ids: a Postgres `bigint`.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        #[repr(transparent)]
        pub struct $name(i64);

        impl $name {
            /// The id that this number stands for.
            pub const fn new(number: i64) -> Self {
                Self(number)
            }

            /// The number, for what takes only numbers: log fields, metrics, Redis.
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl From<i64> for $name {
            fn from(number: i64) -> Self {
                Self(number)
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        // The document shows the number and gives the type no schema of its own: see `openapi::inline_ids`.
        impl PartialSchema for $name {
            fn schema() -> openapi::RefOr<openapi::Schema> {
                i64::schema()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                i64::name()
            }
        }
    };
}

id!(
    /// A person of the directory.
    UserId
);
id!(
    /// A community of the directory.
    CommunityId
);
impl CommunityId {
    /// No community. Communities are numbered from 1 on.
    pub const NONE: Self = Self(0);
}
id!(
    /// A paper of the directory.
    ArticleId
);
id!(
    /// A discussion.
    DiscussionId
);
id!(
    /// A comment.
    CommentId
);
id!(
    /// A pseudonym of a user on an article in a community.
    PseudonymId
);
id!(
    /// A notification.
    NotificationId
);
id!(
    /// A log-in by password.
    LoginId
);
id!(
    /// An event's number in the total order of events. The numbers are contiguous and begin at 1.
    EventId
);

impl EventId {
    /// The number before the first event.
    pub const START: Self = Self(0);
    /// A number after every event.
    pub const MAX: Self = Self(i64::MAX);

    /// The id of the event that follows.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The id of the event that is `events` before this one. It is negative if there are not that many.
    pub const fn minus(self, events: usize) -> Self {
        Self(self.0 - events as i64)
    }
}

impl Default for EventId {
    fn default() -> Self {
        Self::START
    }
}

/// A user's registration for events. It is random, so that nobody can guess it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[repr(transparent)]
pub struct QueueId(uuid::Uuid);

impl QueueId {
    /// A new id.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }
}

impl From<uuid::Uuid> for QueueId {
    fn from(uuid: uuid::Uuid) -> Self {
        Self(uuid)
    }
}

impl FromStr for QueueId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A short name of a browser session, which tells it from the other sessions of its user. It is a part of the session's hash, so it
/// lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SessionTag(u64);

impl SessionTag {
    /// The tag of the session with this hash.
    pub fn of_hash(hash: &[u8; 32]) -> Self {
        Self(hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

/// From 16 hexadecimal digits, as the outbox has them.
impl TryFrom<String> for SessionTag {
    type Error = ParseIntError;

    fn try_from(digits: String) -> Result<Self, ParseIntError> {
        u64::from_str_radix(&digits, 16).map(Self)
    }
}
