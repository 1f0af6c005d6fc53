//! The one error of the API and its one body: `{ "code", "message", "fields"?, "current"? }`.
//!
//! Internal causes (SQL, Redis) go to the log with the request id, and never to the client.

use std::{collections::BTreeMap, num::NonZeroU32};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::db;

/// The result of a handler.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

/// The kinds of calls in OpenAPI. All calls of a kind describe their refusals in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Poll,
    Write,
    LogIn,
}

/// Makes [`ErrorCode`] and the properties of each code from one table.
macro_rules! error_codes {
    ($($code:ident, $status:ident, [$($call:ident),*], $message:literal;)*) => {
        /// Every code that an error body can carry. Clients match on these, never on the message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum ErrorCode {
            $(#[doc = $message] $code,)*
        }

        impl ErrorCode {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            /// The status that goes with the code.
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$code => StatusCode::$status,)*
                }
            }

            fn default_message(self) -> &'static str {
                match self {
                    $(Self::$code => $message,)*
                }
            }

            /// The calls that name this code in OpenAPI.
            pub(crate) fn named_by(self) -> &'static [Call] {
                match self {
                    $(Self::$code => &[$(Call::$call),*],)*
                }
            }
        }
    };
}

error_codes! {
    // code                status                    named by                message
    MalformedJson,         BAD_REQUEST,             [Write, LogIn],        "the body is not valid JSON";
    InvalidParameter,      BAD_REQUEST,             [Read, Poll, Write],   "a parameter of the request is not valid";
    TokenMissing,          UNAUTHORIZED,            [Read, Poll, Write],   "sign in: send a bearer token or a session cookie";
    TokenInvalid,          UNAUTHORIZED,            [Read, Poll, Write, LogIn], "the token is not valid here";
    TokenExpired,          UNAUTHORIZED,            [Read, Poll, Write],   "the token has expired: get a new one";
    CredentialsInvalid,    UNAUTHORIZED,            [LogIn],               "the user name or the password is wrong";
    NotAMember,            FORBIDDEN,               [Read, Write],         "only members of the community may do this";
    NotAuthor,             FORBIDDEN,               [Write],               "only the author may do this";
    NotAllowed,            FORBIDDEN,               [Write],               "your role in the community does not allow this";
    VoteOnOwn,             FORBIDDEN,               [Write],               "you cannot vote on what you wrote";
    NoCommunities,         FORBIDDEN,               [Write],               "you are in no community, so there are no events for you";
    OriginNotAllowed,      FORBIDDEN,               [Write],               "requests by cookie are not accepted from this page's origin";
    NotFound,              NOT_FOUND,               [LogIn],               "there is nothing at this address";
    ArticleNotFound,       NOT_FOUND,               [],                    "there is no such article here";
    CommunityNotFound,     NOT_FOUND,               [],                    "there is no such community";
    DiscussionNotFound,    NOT_FOUND,               [],                    "there is no such discussion";
    CommentNotFound,       NOT_FOUND,               [],                    "there is no such comment";
    SummaryNotFound,       NOT_FOUND,               [],                    "there is no summary here";
    QueueNotFound,         NOT_FOUND,               [Poll],                "there is no such queue: register again";
    UserNotFound,          NOT_FOUND,               [],                    "there is no such user";
    MethodNotAllowed,      METHOD_NOT_ALLOWED,      [],                    "this address does not take that method";
    DiscussionDeleted,     CONFLICT,                [Write],               "the discussion is deleted";
    CommentDeleted,        CONFLICT,                [Write],               "the comment is deleted";
    PlaceRemoved,          CONFLICT,                [Write],               "the article or its community was removed: nothing is written there any more";
    ReadOnly,              CONFLICT,                [Write],               "discussions are only read here for now: they are written at the old site";
    ChangedMeanwhile,      PRECONDITION_FAILED,     [],                    "it was changed meanwhile: look at `current`";
    BodyTooLarge,          PAYLOAD_TOO_LARGE,       [Write, LogIn],        "the body is over the limit of 256 KiB";
    UnsupportedMediaType,  UNSUPPORTED_MEDIA_TYPE,  [Write, LogIn],        "send the body with Content-Type: application/json";
    InvalidFields,         UNPROCESSABLE_ENTITY,    [Write, LogIn],        "some fields are not valid";
    CommentTooDeep,        UNPROCESSABLE_ENTITY,    [Write],               "replies nest at most three deep";
    ParentNotFound,        UNPROCESSABLE_ENTITY,    [Write],               "the parent is not a comment of this discussion";
    IdempotencyKeyReused,  UNPROCESSABLE_ENTITY,    [Write],               "this Idempotency-Key was used for another request";
    RateLimited,           TOO_MANY_REQUESTS,       [Read, Write, LogIn],  "too many requests: wait a little";
    Unavailable,           SERVICE_UNAVAILABLE,     [Read, Poll, Write, LogIn], "a service this server needs does not answer: try again soon";
    Internal,              INTERNAL_SERVER_ERROR,   [Read, Poll, Write, LogIn], "this server made a mistake; it has been logged";
}

/// Writes the code as it is on the wire.
impl std::fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(formatter)
    }
}

/// An error answer.
#[derive(Debug)]
pub struct ApiError {
    code: ErrorCode,
    // Each parked poll has room for an error, so the fields are small.
    message: Option<Box<str>>,
    fields: BTreeMap<String, String>,
    retry_after_seconds: Option<NonZeroU32>,
    current: Option<Box<Value>>,
}

/// The body of every error answer.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "code": "comment_too_deep",
    "message": "replies nest at most three deep",
    "fields": { "parent_id": "is itself at the third level" }
}))]
pub struct ErrorBody {
    /// What went wrong, for programs.
    code: ErrorCode,
    /// What went wrong, for people; its wording may change.
    message: String,
    /// What is wrong with each field, where fields are to blame.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    fields: BTreeMap<String, String>,
    /// With `changed_meanwhile` alone. The document says so at the calls that have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    current: Option<Box<Value>>,
}

impl From<ErrorCode> for ApiError {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, fields: BTreeMap::new(), retry_after_seconds: None, current: None }
    }
}

impl ApiError {
    /// The code of the answer.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Replaces the code's own message by one that says more.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into().into_boxed_str());
        self
    }

    /// Sets the seconds after which the same request may be sent again.
    pub fn retry_after(mut self, seconds: NonZeroU32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Adds a field and what is wrong with it.
    pub fn field(mut self, name: impl Into<String>, problem: impl Into<String>) -> Self {
        self.fields.insert(name.into(), problem.into());
        self
    }

    /// Adds the thing as it is now.
    pub fn current(mut self, thing: &impl Serialize) -> Result<Self> {
        self.current = Some(Box::new(serde_json::to_value(thing).map_err(Self::internal)?));
        Ok(self)
    }

    /// 422 for one field.
    pub fn invalid_field(name: &str, problem: impl Into<String>) -> Self {
        Self::from(ErrorCode::InvalidFields).field(name, problem)
    }

    /// 400 for one parameter of path, query or header.
    pub fn invalid_parameter(name: &str, problem: impl Into<String>) -> Self {
        Self::from(ErrorCode::InvalidParameter).field(name, problem)
    }

    /// 500. The cause goes to the log only.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed inside");
        ErrorCode::Internal.into()
    }
}

/// A broken constraint becomes the code of its name, a connection that fails 503, and everything else 500.
impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            // The schema has changed since the statement was prepared. The next connection prepares it again.
            _ if db::has_stale_plan(&error) => {}
            E::Database(database) => match database.constraint() {
                Some("comments_depth") => return ErrorCode::CommentTooDeep.into(),
                Some("comments_parent" | "comments_root_in_discussion") => {
                    return ErrorCode::ParentNotFound.into();
                }
                Some("discussions_place" | "summaries_place") => return ErrorCode::ArticleNotFound.into(),
                // The token is valid, but its user is not in the directory (any more).
                Some(
                    "discussions_author_id_fkey"
                    | "comments_author_id_fkey"
                    | "summaries_author_id_fkey"
                    | "idempotency_keys_user_id_fkey"
                    | "read_states_user_id_fkey",
                ) => {
                    return ErrorCode::TokenInvalid.into();
                }
                // The log-in of the token has ended.
                Some("sessions_login_id_fkey") => return ErrorCode::TokenInvalid.into(),
                // A trigger refuses what this server writes while Django writes the discussions (src/django/sql/follow.sql).
                Some("django_writes") => return ErrorCode::ReadOnly.into(),
                Some("read_states_discussion_id_fkey") => return ErrorCode::DiscussionNotFound.into(),
                // 57P0x: the server shuts down or starts. 53xxx: no connections or memory left. 08xxx: connection lost.
                // 28xxx, 3D000, 55000: no new connection is accepted. 25006: a standby, which only reads.
                // 57014, 55P03: the time limit of a statement or a lock. 40001, 40P01: a retry would succeed.
                _ => match database.code().as_deref() {
                    Some(code)
                        if code.starts_with("57")
                            || code.starts_with("53")
                            || code.starts_with("08")
                            || code.starts_with("40")
                            || code.starts_with("28")
                            || matches!(code, "25006" | "3D000" | "55000" | "55P03") => {}
                    _ => return Self::internal(error),
                },
            },
            E::Io(_) | E::PoolTimedOut | E::PoolClosed | E::Tls(_) | E::Protocol(_) | E::WorkerCrashed => {}
            _ => return Self::internal(error),
        }
        tracing::warn!(cause = %error, "the database is not available");
        ErrorCode::Unavailable.into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = ErrorBody {
            code: self.code,
            message: self.message.map_or_else(|| self.code.default_message().to_owned(), String::from),
            fields: self.fields,
            current: self.current,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let is_unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
        if let Some(seconds) = self.retry_after_seconds.or(is_unavailable.then_some(NonZeroU32::MIN)) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.get()));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
