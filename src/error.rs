//! The one error of the API and its one body: `{ "code", "message", "fields"? }`.
//!
//! Causes inside (SQL, Redis) go to the log, where the request id finds them, and never to the client.

use std::collections::BTreeMap;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::db;

/// What handlers return.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

/// Every code that an error body can carry. Clients match on these, never on the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 400: the body is not JSON (or has bytes that JSON text cannot have).
    MalformedJson,
    /// 400: a part of the path, the query or a header is not what it should be.
    InvalidParameter,
    /// 401: no bearer token and no session.
    TokenMissing,
    /// 401: not a token of this service, or one with a wrong signature or content.
    TokenInvalid,
    /// 401: the token was good once.
    TokenExpired,
    /// 403: this takes membership of the community.
    NotAMember,
    /// 403: this takes authorship.
    NotAuthor,
    /// 403: this takes another role.
    NotAllowed,
    /// 403: the user (or the token) has no community to get events of.
    NoCommunities,
    /// 403: a request by cookie from a page that is not on the list of allowed origins.
    OriginNotAllowed,
    /// 404: no such address.
    NotFound,
    /// 404
    ArticleNotFound,
    /// 404
    CommunityNotFound,
    /// 404
    DiscussionNotFound,
    /// 404
    CommentNotFound,
    /// 404: unknown, expired, closed, or another user's. Register again.
    QueueNotFound,
    /// 404 (demo mode only)
    UserNotFound,
    /// 405
    MethodNotAllowed,
    /// 409: the discussion is deleted.
    DiscussionDeleted,
    /// 409: the comment is deleted.
    CommentDeleted,
    /// 413: over 256 KiB.
    BodyTooLarge,
    /// 415: a body that is not `application/json`.
    UnsupportedMediaType,
    /// 422: `fields` says which and why.
    InvalidFields,
    /// 422: replies nest three deep.
    CommentTooDeep,
    /// 422: the parent is not a comment of this discussion.
    ParentNotFound,
    /// 422: this Idempotency-Key came with another request before.
    IdempotencyKeyReused,
    /// 429: too many requests; try again after `Retry-After` seconds.
    RateLimited,
    /// 503: something this server needs is down; try again after `Retry-After` seconds.
    Unavailable,
    /// 500: a fault of this server.
    Internal,
}

impl ErrorCode {
    /// The status that goes with the code.
    pub fn status(self) -> StatusCode {
        match self {
            Self::MalformedJson | Self::InvalidParameter => StatusCode::BAD_REQUEST,
            Self::TokenMissing | Self::TokenInvalid | Self::TokenExpired => StatusCode::UNAUTHORIZED,
            Self::NotAMember | Self::NotAuthor | Self::NotAllowed | Self::NoCommunities | Self::OriginNotAllowed => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound
            | Self::ArticleNotFound
            | Self::CommunityNotFound
            | Self::DiscussionNotFound
            | Self::CommentNotFound
            | Self::QueueNotFound
            | Self::UserNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::DiscussionDeleted | Self::CommentDeleted => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::InvalidFields | Self::CommentTooDeep | Self::ParentNotFound | Self::IdempotencyKeyReused => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn default_message(self) -> &'static str {
        match self {
            Self::MalformedJson => "the body is not valid JSON",
            Self::InvalidParameter => "a parameter of the request is not valid",
            Self::TokenMissing => "sign in: send a bearer token or a session cookie",
            Self::TokenInvalid => "the token is not valid here",
            Self::TokenExpired => "the token has expired: get a new one",
            Self::NotAMember => "only members of the community may do this",
            Self::NotAuthor => "only the author may do this",
            Self::NotAllowed => "your role in the community does not allow this",
            Self::NoCommunities => "you are in no community, so there are no events for you",
            Self::OriginNotAllowed => "requests by cookie are not accepted from this page's origin",
            Self::NotFound => "there is nothing at this address",
            Self::ArticleNotFound => "there is no such article here",
            Self::CommunityNotFound => "there is no such community",
            Self::DiscussionNotFound => "there is no such discussion",
            Self::CommentNotFound => "there is no such comment",
            Self::QueueNotFound => "there is no such queue: register again",
            Self::UserNotFound => "there is no such user",
            Self::MethodNotAllowed => "this address does not take that method",
            Self::DiscussionDeleted => "the discussion is deleted",
            Self::CommentDeleted => "the comment is deleted",
            Self::BodyTooLarge => "the body is over the limit of 256 KiB",
            Self::UnsupportedMediaType => "send the body with Content-Type: application/json",
            Self::InvalidFields => "some fields are not valid",
            Self::CommentTooDeep => "replies nest at most three deep",
            Self::ParentNotFound => "the parent is not a comment of this discussion",
            Self::IdempotencyKeyReused => "this Idempotency-Key was used for another request",
            Self::RateLimited => "too many requests: wait a little",
            Self::Unavailable => "a service this server needs does not answer: try again soon",
            Self::Internal => "this server made a mistake; it has been logged",
        }
    }
}

/// An error answer.
#[derive(Debug)]
pub struct ApiError {
    code: ErrorCode,
    message: Option<String>,
    fields: BTreeMap<String, String>,
    retry_after_seconds: Option<u64>,
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
}

impl From<ErrorCode> for ApiError {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, fields: BTreeMap::new(), retry_after_seconds: None }
    }
}

impl ApiError {
    /// The code of the answer.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// With a message that says more than the code's own.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// With the seconds after which the same request is worth another try.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// With a field to blame.
    pub fn field(mut self, name: impl Into<String>, problem: impl Into<String>) -> Self {
        self.fields.insert(name.into(), problem.into());
        self
    }

    /// 422 for one field.
    pub fn invalid_field(name: &str, problem: impl Into<String>) -> Self {
        Self::from(ErrorCode::InvalidFields).field(name, problem)
    }

    /// 400 for one parameter of path, query or header.
    pub fn invalid_parameter(name: &str, problem: impl Into<String>) -> Self {
        Self::from(ErrorCode::InvalidParameter).field(name, problem)
    }

    /// 500; the cause goes to the log only.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed inside");
        ErrorCode::Internal.into()
    }
}

/// How a database error looks from outside: constraints by their names, connection trouble as 503, the rest as 500.
impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            // The schema has changed under a prepared statement, which is made anew on another connection.
            _ if db::has_stale_plan(&error) => {}
            E::Database(database) => match database.constraint() {
                Some("comments_depth") => return ErrorCode::CommentTooDeep.into(),
                Some("comments_parent" | "comments_root_in_discussion") => {
                    return ErrorCode::ParentNotFound.into();
                }
                Some("discussions_place") => return ErrorCode::ArticleNotFound.into(),
                // The user of a valid token is not (or no longer) in the directory.
                Some("discussions_author_id_fkey" | "comments_author_id_fkey" | "idempotency_keys_user_id_fkey") => {
                    return ErrorCode::TokenInvalid.into();
                }
                // 57P0x: shutting down or starting; 53xxx: no connections or memory left; 08xxx: connection lost;
                // 28xxx, 3D000, 55000: no new connection is let in, for the password, a renamed database, or at all;
                // 57014, 55P03: ran into the limit of a statement's time or of a lock's; 40001, 40P01: would succeed if tried again.
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
            message: self.message.unwrap_or_else(|| self.code.default_message().to_owned()),
            fields: self.fields,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let is_unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
        if let Some(seconds) = self.retry_after_seconds.or(is_unavailable.then_some(1)) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
