//! The version of a discussion, comment or summary, and the conditions that a change of it may name.
//!
//! The version is `updated_at`: it moves with every change. Clients get it in the body, and as an entity tag in the header
//! `ETag`. A change may say which version its client has read, by `If-Match` or by `if_updated_at`. If the thing has another
//! version meanwhile, the answer is 412 `changed_meanwhile` with the thing as it is now.
//!
//! The entity tag says nothing of `comment_count` and of the author's name, because neither is what a change replaces. Caches do
//! not use it: these answers are `no-store`.

use axum::{
    Json,
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::error::{ApiError, ErrorCode, Result};

/// Something that has versions.
pub(crate) trait Versioned {
    /// Its version. None for a tombstone, which cannot be changed.
    fn version(&self) -> Option<DateTime<Utc>>;
}

/// An answer with one thing, and its entity tag.
pub(crate) struct WithETag<T>(pub T);

impl<T: Versioned + Serialize> IntoResponse for WithETag<T> {
    fn into_response(self) -> Response {
        let mut response = Json(&self.0).into_response();
        set_etag(response.headers_mut(), &self.0);
        response
    }
}

/// Sets the entity tag of `thing`.
pub(crate) fn set_etag(headers: &mut HeaderMap, thing: &impl Versioned) {
    if let Some(version) = thing.version() {
        let tag = HeaderValue::try_from(etag(version)).expect("a quoted number is a header's value");
        headers.insert(header::ETAG, tag);
    }
}

/// The entity tag of a version: its microseconds, which are all that the database keeps.
fn etag(version: DateTime<Utc>) -> String {
    format!("\"{}\"", version.timestamp_micros())
}

/// The header `If-Match`. 400 if it is malformed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// The request does not have it.
    Absent,
    /// It is `*`: whatever exists will do, and something must.
    Anything,
    /// The version must have one of these entity tags.
    OneOf(Vec<String>),
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let lines: Vec<&[u8]> = parts.headers.get_all(header::IF_MATCH).iter().map(HeaderValue::as_bytes).collect();
        if lines.is_empty() {
            return Ok(Self::Absent);
        }
        parse(&lines.join(&b","[..]))
            .ok_or_else(|| ApiError::invalid_parameter("If-Match", "is neither * nor a list of entity tags"))
    }
}

/// The header `If-None-Match`, by which a write can say that it must be the first. 400 if it is anything but `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfNoneMatch {
    /// The request does not have it.
    Absent,
    /// It is `*`: nothing may be there yet.
    Anything,
}

impl<S: Send + Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        match parts.headers.get(header::IF_NONE_MATCH).map(|value| value.as_bytes().trim_ascii()) {
            None => Ok(Self::Absent),
            Some(b"*") => Ok(Self::Anything),
            Some(_) => Err(ApiError::invalid_parameter("If-None-Match", "is not *")),
        }
    }
}

/// Parses `*`, or entity tags with commas between them. Weak ones are left out, because they never match (RFC 9110, 13.1.1).
fn parse(value: &[u8]) -> Option<IfMatch> {
    let mut rest = value.trim_ascii();
    if rest == b"*" {
        return Some(IfMatch::Anything);
    }
    let (mut tags, mut is_empty) = (Vec::new(), true);
    loop {
        // Empty elements of a list count as nothing.
        while let Some(more) = rest.strip_prefix(b",") {
            rest = more.trim_ascii_start();
        }
        if rest.is_empty() {
            return (!is_empty).then_some(IfMatch::OneOf(tags));
        }
        let (is_weak, tag) = rest.strip_prefix(b"W/").map_or((false, rest), |tag| (true, tag));
        let inside = tag.strip_prefix(b"\"")?;
        let length = inside.iter().position(|byte| *byte == b'"')?;
        let (opaque, after) = (&inside[..length], inside[length + 1..].trim_ascii_start());
        if opaque.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) || !(after.is_empty() || after.starts_with(b",")) {
            return None;
        }
        if !is_weak {
            tags.push(format!("\"{}\"", String::from_utf8_lossy(opaque)));
        }
        (is_empty, rest) = (false, after);
    }
}

/// The versions that a change may replace. Both conditions must hold.
#[derive(Debug)]
pub(crate) struct Expected {
    pub if_match: IfMatch,
    /// The `updated_at` that the client has read. None allows every version.
    pub if_updated_at: Option<DateTime<Utc>>,
}

impl Expected {
    /// Whether it holds only for something that exists (RFC 9110, 13.1.1).
    pub(crate) fn needs_a_version(&self) -> bool {
        self.if_updated_at.is_some() || self.if_match != IfMatch::Absent
    }

    /// Checks that `current` has an expected version. The refusal shows `current`. Call it while the row is locked.
    pub(crate) fn check(&self, current: &(impl Versioned + Serialize)) -> Result<()> {
        let Some(version) = current.version() else { return Ok(()) };
        let is_listed = match &self.if_match {
            IfMatch::Absent | IfMatch::Anything => true,
            IfMatch::OneOf(tags) => tags.contains(&etag(version)),
        };
        if is_listed && self.if_updated_at.is_none_or(|read| read == version) {
            return Ok(());
        }
        Err(ApiError::from(ErrorCode::ChangedMeanwhile).current(current)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_is_a_star_or_a_list_of_entity_tags() {
        let list = |tags: &[&str]| Some(IfMatch::OneOf(tags.iter().map(|tag| (*tag).to_owned()).collect()));
        assert_eq!(parse(b" * "), Some(IfMatch::Anything));
        assert_eq!(parse(b"\"1\""), list(&["\"1\""]));
        assert_eq!(parse(b"\"a,b\" ,, \"\",\t\"\xff\""), list(&["\"a,b\"", "\"\"", "\"\u{fffd}\""]));
        assert_eq!(parse(b"W/\"1\", \"2\""), list(&["\"2\""]), "a weak tag never matches");
        assert_eq!(parse(b"W/\"1\""), list(&[]));
        for malformed in [
            &b""[..],
            b",",
            b"1",
            b"\"1",
            b"1\"",
            b"\"1\"\"2\"",
            b"\"1\" \"2\"",
            b"*, \"1\"",
            b"\"1\", *",
            b"**",
            b"w/\"1\"",
            b"W/ \"1\"",
            b"\"a b\"",
            b"\"\x7f\"",
            b"'1'",
        ] {
            assert_eq!(parse(malformed), None, "{:?}", String::from_utf8_lossy(malformed));
        }
    }
}
