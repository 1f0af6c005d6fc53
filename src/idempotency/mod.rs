//! The header `Idempotency-Key`. A client on a bad network repeats a POST with the same key: it writes once. The answer to a
//! repetition is what was written, as it is now. So a key holds an id and no text, and nothing deleted can be read through it.
//!
//! A request claims its key in the transaction of its write. A second request with the key waits at the claim until the first one
//! ends. If the first is committed, the second gets what it wrote. If the first is rolled back, the second writes.

pub(crate) mod store;

use axum::{
    Json,
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    auth::Viewer,
    db::Write,
    error::{ApiError, ErrorCode, Result},
    ids::UserId,
    version::{Versioned, set_etag},
};

/// Hours after which a key may be used for another request.
pub(crate) const ANSWER_TTL_HOURS: i32 = 24;
const HEADER: &str = "idempotency-key";

/// The key of the request, if it has one.
#[derive(Clone)]
pub(crate) struct IdempotencyKey(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let Some(value) = parts.headers.get(HEADER) else {
            return Ok(Self(None));
        };
        match value.to_str() {
            Ok(key) if (1..=255).contains(&key.len()) && !key.contains('\t') => Ok(Self(Some(key.to_owned()))),
            _ => Err(ApiError::invalid_parameter("Idempotency-Key", "is not 1 to 255 printable ASCII characters")),
        }
    }
}

/// The result of a claim.
pub(crate) enum Claim {
    /// The request is the first with its key, or has none. Write, then store what was written by [`Ticket::keep`].
    First(Ticket),
    /// The request repeats an earlier one, which wrote the thing with this id. Answer by [`repeated`].
    Repeat(i64),
}

/// The permission to store what a request with a claimed key has written. It has no key if the request has none.
pub(crate) struct Ticket(Option<(UserId, String)>);

/// Claims the key for a request to `route` (method and path) with `body`. `idempotency_key_reused` if an earlier request with the
/// key had another route or body.
pub(crate) async fn claim(
    write: &mut Write,
    viewer: &Viewer,
    key: IdempotencyKey,
    route: &str,
    body: &impl Serialize,
) -> Result<Claim> {
    let Some(key) = key.0 else {
        return Ok(Claim::First(Ticket(None)));
    };
    let mut hash = Sha256::new();
    hash.update(route.as_bytes());
    hash.update([0]);
    hash.update(serde_json::to_vec(body).map_err(ApiError::internal)?);
    let hash = hash.finalize();
    if store::claim(write, viewer.user_id, &key, &hash).await? {
        return Ok(Claim::First(Ticket(Some((viewer.user_id, key)))));
    }
    let (first_hash, written) = store::written(write, viewer.user_id, &key).await?;
    if first_hash != hash[..] {
        return Err(ErrorCode::IdempotencyKeyReused.into());
    }
    Ok(Claim::Repeat(written))
}

impl Ticket {
    /// Stores the id of what is `written`, in the transaction of its write.
    pub(crate) async fn keep(self, write: &mut Write, written: i64) -> Result<()> {
        match self.0 {
            Some((user, key)) => store::keep(write, user, &key, written).await,
            None => Ok(()),
        }
    }
}

/// The answer 201 with `body`.
pub(crate) fn created(body: &(impl Versioned + Serialize)) -> Response {
    let mut response = (StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response();
    set_etag(response.headers_mut(), body);
    response
}

/// The answer to a repetition: 201 with `body`, which is what was written as it is now.
pub(crate) fn repeated(body: &(impl Versioned + Serialize)) -> Response {
    let mut response = created(body);
    response.headers_mut().insert(HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true"));
    response
}
