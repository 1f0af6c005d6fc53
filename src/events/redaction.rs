//! Redaction: when a discussion, comment or summary is deleted, its older events lose topic, text and people, and say when it was
//! deleted. They stay events, because replies depend on them.
//!
//! The outbox does it in the transaction that numbers the deletion (migrations 0011 and 0034). A node does it when the deletion arrives in
//! its hub. Both change an event in the same way.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::value::RawValue;

use super::{KindChange, subject::Outline};
use crate::ids::{ArticleId, CommentId, CommunityId, DiscussionId};

/// What a deletion deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A discussion.
    Discussion(DiscussionId),
    /// A comment.
    Comment(CommentId),
    /// The summary of an article in a community.
    Summary(CommunityId, ArticleId),
}

/// What an event means to a node that keeps events: it may be redacted, redact others, or change who may read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// It shows a discussion, a comment or a summary.
    Shows(Shown),
    /// It deletes one.
    Deletes(Deletion),
    /// It changes the kind of its community.
    ChangesKind(KindChange),
    /// Nothing.
    #[default]
    Other,
}

/// Which discussion, comment or summary an event shows, and where in its JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    thing: Thing,
    /// The bytes of topic, text, author, mentions and `resolved_by`, in ascending order. Empty where the event has none.
    hidden: [Range<u32>; 5],
}

/// The deletion of a discussion, a comment or a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    thing: Thing,
    /// When it was deleted, as JSON.
    deleted_at: Bytes,
}

impl Content {
    /// Reads it from an event as clients get it. An event of a type that this release does not know is [`Content::Other`].
    pub fn of(json: &Bytes) -> Self {
        Outline::of(json).and_then(|outline| Self::read(json, &outline)).unwrap_or_default()
    }

    /// Reads it from the outline of `json`. None for [`Content::Other`].
    pub(super) fn read(json: &Bytes, outline: &Outline<'_>) -> Option<Self> {
        let thing = match outline.kind {
            "community_changed" => return KindChange::of(json).map(Self::ChangesKind),
            "new_discussion" | "updated_discussion" | "deleted_discussion" => Thing::Discussion(outline.discussion_id?),
            "new_comment" | "updated_comment" | "deleted_comment" => Thing::Comment(outline.comment_id?),
            "updated_summary" => Thing::Summary(outline.community_id?, outline.article_id?),
            _ => return None,
        };
        // It is redacted already, and shows nothing. A summary that is deleted twice must not be redacted twice.
        if outline.deleted_at.is_some() {
            return None;
        }
        let deletes_summary = matches!(thing, Thing::Summary(..)) && outline.text.is_none();
        if outline.kind.starts_with("deleted_") || deletes_summary {
            let deleted_at = json.slice_ref(outline.timestamp?.get().as_bytes());
            return Some(Self::Deletes(Deletion { thing, deleted_at }));
        }
        let mut hidden = [outline.topic, outline.text, outline.author, outline.mentions, outline.resolved_by]
            .map(|part| part.map_or(0..0, |part| range(json, part)));
        hidden.sort_unstable_by_key(|range| range.start);
        Some(Self::Shows(Shown { thing, hidden }))
    }

    /// The discussion, comment or summary that the event shows.
    pub(crate) fn shown(&self) -> Option<&Shown> {
        match self {
            Self::Shows(shown) => Some(shown),
            Self::Deletes(_) | Self::ChangesKind(_) | Self::Other => None,
        }
    }
}

/// Where `part` is in the `json` that it was read from. An event is far below 4 GiB.
fn range(json: &Bytes, part: &RawValue) -> Range<u32> {
    let start = part.get().as_ptr().addr() - json.as_ptr().addr();
    start as u32..(start + part.get().len()) as u32
}

impl Deletion {
    /// Whether it deletes what the other event shows.
    pub(crate) fn redacts(&self, shown: &Shown) -> bool {
        self.thing == shown.thing
    }

    /// `json`, an event that `shown` was read from, without topic, text, author, mentions and `resolved_by`. Its length bounds the work.
    pub(crate) fn redact(&self, json: &Bytes, shown: &Shown) -> Bytes {
        let mut redacted = BytesMut::with_capacity(json.len().min(512));
        let mut rest = 0;
        for hidden in shown.hidden.iter().filter(|hidden| !hidden.is_empty()) {
            redacted.put_slice(&json[rest..hidden.start as usize]);
            let is_list = json.get(hidden.start as usize) == Some(&b'[');
            redacted.put_slice(if is_list { b"[]" } else { b"null" });
            rest = hidden.end as usize;
        }
        let end = json.iter().rposition(|byte| *byte == b'}').unwrap_or(json.len());
        redacted.put_slice(&json[rest..end]);
        redacted.put_slice(b",\"deleted_at\":");
        redacted.put_slice(&self.deleted_at);
        redacted.put_u8(b'}');
        redacted.freeze()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn redacted(event: &str, deletion: &str) -> Option<Value> {
        let json = Bytes::from(event.to_owned());
        let Content::Deletes(deletion) = Content::of(&deletion.to_owned().into()) else { panic!("it is no deletion") };
        let content = Content::of(&json);
        let shown = content.shown().filter(|shown| deletion.redacts(shown))?;
        Some(serde_json::from_slice(&deletion.redact(&json, shown)).unwrap())
    }

    const COMMENT: &str =
        r#"{"type":"deleted_comment","comment_id":5,"discussion_id":7,"timestamp":"2026-01-01T00:00:00Z"}"#;
    const DISCUSSION: &str = r#"{"type":"deleted_discussion","discussion_id":5,"timestamp":"2026-01-01T00:00:00Z"}"#;

    #[test]
    fn topic_text_and_author_go_wherever_they_are_and_the_rest_stays() {
        for text in ["", "secret", r#"}\"text\":\"secret\\"#, "{\\\"author\\\":1}", "ü\\u00fc\\n"] {
            let event = format!(
                r#" {{"text":"{text}", "type":"new_comment" ,"mentions": [{{"id":2}}, {{"id":3}}],"comment_id":5,"author":{{"id":1,"username":"ada"}},"depth":1 }} "#
            );
            let expected = json!({ "text": null, "type": "new_comment", "mentions": [], "comment_id": 5, "author": null, "depth": 1,
                "deleted_at": "2026-01-01T00:00:00Z" });
            assert_eq!(redacted(&event, COMMENT), Some(expected));
        }
        let event = r#"{"discussion_id":5,"author":null,"topic":"a","is_resolved":true,"resolved_by":{"id":1},"text":"b","type":"updated_discussion"}"#;
        let expected = json!({ "discussion_id": 5, "author": null, "topic": null, "is_resolved": true, "resolved_by": null,
            "text": null, "type": "updated_discussion", "deleted_at": "2026-01-01T00:00:00Z" });
        assert_eq!(redacted(event, DISCUSSION), Some(expected));
    }

    #[test]
    fn an_event_of_a_summary_without_text_is_its_deletion() {
        let event = |text: &str, more: &str| {
            format!(
                r#"{{"type":"updated_summary","community_id":4,"article_id":7,"text":{text},"author":{{"id":1}},"timestamp":"t"{more}}}"#
            )
        };
        let deletion = event("null", "");
        let expected = json!({ "type": "updated_summary", "community_id": 4, "article_id": 7, "text": null, "author": null,
            "timestamp": "t", "deleted_at": "t" });
        assert_eq!(redacted(&event("\"a\"", ""), &deletion), Some(expected));
        let elsewhere = event("\"a\"", "").replace(":7", ":8");
        assert_eq!(redacted(&elsewhere, &deletion), None);
        // A deletion shows nothing, and neither does what is redacted already.
        for other in [deletion.clone(), event("null", r#","deleted_at":"s""#)] {
            assert_eq!(redacted(&other, &deletion), None, "{other}");
        }
        assert_eq!(Content::of(&event("null", r#","deleted_at":"s""#).into()), Content::Other);
    }

    #[test]
    fn a_deletion_redacts_the_events_of_its_thing_alone() {
        // Comments stay readable when their discussion is deleted.
        assert_eq!(redacted(r#"{"type":"new_comment","comment_id":6,"discussion_id":5,"text":"a"}"#, DISCUSSION), None);
        assert_eq!(redacted(r#"{"type":"new_comment","comment_id":6,"discussion_id":7,"text":"a"}"#, COMMENT), None);
        assert_eq!(redacted(r#"{"type":"new_discussion","discussion_id":5,"text":"a"}"#, COMMENT), None);
        for other in [
            r#"{"type":"votes_changed","comment_id":5,"text":"a"}"#,
            r#"{"type":"new_comment","text":"a"}"#,
            r#"{"type":"new_comment","comment_id":"5"}"#,
            r#"{"type":"deleted_comment","comment_id":5}"#,
            "[]",
            "",
        ] {
            assert_eq!(Content::of(&other.to_owned().into()), Content::Other, "{other}");
        }
    }
}
