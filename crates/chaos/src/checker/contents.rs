//! The discussions and comments that a client shows, folded from lists and events.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Discussions and comments by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub discussions: BTreeMap<i64, Discussion>,
    pub comments: BTreeMap<i64, Comment>,
    /// The votes that are not taken back. Pages leave them out.
    pub ballots: BTreeMap<Ballot, i64>,
    /// The comments that users have read, as ranges, by user and discussion. Pages leave them out.
    pub read: BTreeMap<(i64, i64), Value>,
    /// Who has which notification, and whether they have read it. Pages leave them out.
    pub notifications: BTreeMap<i64, (i64, bool)>,
    /// What users said of articles and discussions, by user, community, article and discussion. Pages leave it out.
    pub follows: BTreeMap<(i64, i64, i64, Option<i64>), String>,
    /// The number of the last change and the text of each summary, by community and article. Pages leave them out.
    pub summaries: BTreeMap<(i64, i64), (i64, Option<String>)>,
}

/// A discussion. Topic and text are None in a tombstone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Discussion {
    pub community: i64,
    pub topic: Option<String>,
    pub text: Option<String>,
    /// The users whom the text mentions.
    pub mentions: BTreeSet<i64>,
    pub is_resolved: bool,
    pub comment_count: i64,
    pub votes: Votes,
}

/// A comment. The text is None in a tombstone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comment {
    pub discussion: i64,
    pub text: Option<String>,
    /// The users whom the text mentions.
    pub mentions: BTreeSet<i64>,
    pub votes: Votes,
}

/// The votes up and down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Votes {
    pub up: i64,
    pub down: i64,
}

impl Votes {
    /// Reads them from an event or from an entry of a list.
    fn from_json(value: &Value) -> Self {
        let count = |name: &str| value[name].as_i64().unwrap_or(-1);
        Self { up: count("upvotes"), down: count("downvotes") }
    }
}

/// A user's vote on a discussion, or on a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ballot {
    pub user: i64,
    pub discussion: Option<i64>,
    pub comment: Option<i64>,
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The ids of the users whom an event or an entry of a list mentions.
fn mentions(value: &Value) -> BTreeSet<i64> {
    value["mentions"].as_array().into_iter().flatten().filter_map(|author| author["id"].as_i64()).collect()
}

impl Contents {
    /// Applies an event, or an event's payload from the outbox. Unknown types change nothing.
    pub(crate) fn apply(&mut self, event: &Value) {
        self.apply_to_discussions(event);
        self.apply_to_comments(event);
        self.apply_to_ballots(event);
        self.apply_to_read(event);
        self.apply_to_follows(event);
        self.apply_to_notifications(event);
        self.apply_to_summaries(event);
    }

    fn apply_to_summaries(&mut self, event: &Value) {
        if event["type"] == "updated_summary" {
            let id = |name: &str| event[name].as_i64().unwrap_or_default();
            self.summaries.insert((id("community_id"), id("article_id")), (id("revision"), text(&event["text"])));
        }
    }

    fn apply_to_notifications(&mut self, event: &Value) {
        let ids = || event["ids"].as_array().into_iter().flatten().filter_map(Value::as_i64);
        match event["type"].as_str().unwrap_or_default() {
            "new_notification" => {
                let id = |name: &str| event[name].as_i64().unwrap_or_default();
                self.notifications.insert(id("notification_id"), (id("user_id"), false));
            }
            "notifications_withdrawn" => self.notifications.retain(|id, _| !ids().any(|gone| gone == *id)),
            // Without the ids there are too many of them for an event.
            "notifications_read" if event["ids"].is_null() => {
                let read = self.notifications.values_mut().filter(|(user, _)| event["user_id"] == *user);
                read.for_each(|(_, is_read)| *is_read = true);
            }
            "notifications_read" => {
                for id in ids() {
                    if let Some((_, is_read)) = self.notifications.get_mut(&id) {
                        *is_read = true;
                    }
                }
            }
            _ => {}
        }
    }

    fn apply_to_follows(&mut self, event: &Value) {
        if event["type"] != "follow_changed" {
            return;
        }
        let id = |name: &str| event[name].as_i64().unwrap_or_default();
        let key = (id("user_id"), id("community_id"), id("article_id"), event["discussion_id"].as_i64());
        if event["is_default"] == true {
            self.follows.remove(&key);
        } else {
            self.follows.insert(key, text(&event["level"]).unwrap_or_default());
        }
    }

    fn apply_to_read(&mut self, event: &Value) {
        if event["type"] == "read_state_changed" {
            let id = |name: &str| event[name].as_i64().unwrap_or_default();
            self.read.insert((id("user_id"), id("discussion_id")), event["read_comments"].clone());
        }
    }

    fn apply_to_ballots(&mut self, event: &Value) {
        if event["type"] != "own_vote_changed" {
            return;
        }
        let comment = event["comment_id"].as_i64();
        let discussion = event["discussion_id"].as_i64().filter(|_| comment.is_none());
        let ballot = Ballot { user: event["user_id"].as_i64().unwrap_or_default(), discussion, comment };
        match event["value"].as_i64() {
            Some(value) if value != 0 => self.ballots.insert(ballot, value),
            _ => self.ballots.remove(&ballot),
        };
    }

    fn apply_to_discussions(&mut self, event: &Value) {
        let Some(id) = event["discussion_id"].as_i64() else { return };
        match event["type"].as_str().unwrap_or_default() {
            "new_discussion" | "updated_discussion" => {
                self.discussions.insert(id, Discussion::from_json(event));
            }
            "deleted_discussion" => {
                let discussion = self.discussions.entry(id).or_default();
                (discussion.topic, discussion.text) = (None, None);
                discussion.mentions.clear();
            }
            "new_comment" | "deleted_comment" => {
                if let Some(discussion) = self.discussions.get_mut(&id) {
                    discussion.comment_count = event["comment_count"].as_i64().unwrap_or(-1);
                }
            }
            "votes_changed" if event["comment_id"].is_null() => {
                if let Some(discussion) = self.discussions.get_mut(&id) {
                    discussion.votes = Votes::from_json(event);
                }
            }
            _ => {}
        }
    }

    fn apply_to_comments(&mut self, event: &Value) {
        let (Some(id), Some(discussion)) = (event["comment_id"].as_i64(), event["discussion_id"].as_i64()) else {
            return;
        };
        let text = match event["type"].as_str().unwrap_or_default() {
            "new_comment" | "updated_comment" => text(&event["text"]),
            "deleted_comment" => {
                let comment = self.comments.entry(id).or_insert(Comment { discussion, ..Comment::default() });
                comment.text = None;
                comment.mentions.clear();
                return;
            }
            "votes_changed" => {
                self.comments.entry(id).or_insert(Comment { discussion, ..Comment::default() }).votes =
                    Votes::from_json(event);
                return;
            }
            _ => return,
        };
        let (mentions, votes) = (mentions(event), Votes::from_json(event));
        self.comments.insert(id, Comment { discussion, text, mentions, votes });
    }

    /// The first difference, in words.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        first_difference("discussion", &self.discussions, &other.discussions)
            .or_else(|| first_difference("comment", &self.comments, &other.comments))
    }
}

fn first_difference<T: PartialEq + std::fmt::Debug>(
    what: &str,
    here: &BTreeMap<i64, T>,
    there: &BTreeMap<i64, T>,
) -> Option<String> {
    let ids = here.keys().chain(there.keys());
    let mut differing = ids.filter(|id| here.get(id) != there.get(id));
    differing.next().map(|id| format!("{what} {id} is {:?} and should be {:?}", here.get(id), there.get(id)))
}

impl Discussion {
    /// Reads it from an event or from an entry of a list.
    fn from_json(value: &Value) -> Self {
        Self {
            community: value["community_id"].as_i64().unwrap_or_default(),
            topic: text(&value["topic"]),
            text: text(&value["text"]),
            mentions: mentions(value),
            is_resolved: value["is_resolved"] == true,
            comment_count: value["comment_count"].as_i64().unwrap_or(-1),
            votes: Votes::from_json(value),
        }
    }
}

/// The page of one client: the discussions of one community, and the comments of its open discussions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub community: i64,
    contents: Contents,
    /// The list of discussions has the events up to this one.
    head: i64,
    /// The open discussions, each with the number of the newest event in its list of comments.
    open: BTreeMap<i64, i64>,
}

impl Page {
    pub(crate) fn new(community: i64) -> Self {
        Self { community, ..Self::default() }
    }

    /// Takes an answer to GET /articles/{id}/discussions. The first page's head is the oldest one.
    pub(crate) fn take_discussions(&mut self, answer: &Value) {
        let head = answer["last_event_id"].as_i64().unwrap_or_default();
        self.head = if self.contents.discussions.is_empty() { head } else { self.head.min(head) };
        for discussion in answer["discussions"].as_array().into_iter().flatten() {
            let id = discussion["id"].as_i64().unwrap_or_default();
            self.contents.discussions.insert(id, Discussion::from_json(discussion));
        }
    }

    /// Takes an answer to GET /discussions/{id}/comments.
    pub(crate) fn take_comments(&mut self, discussion: i64, answer: &Value) {
        let head = answer["last_event_id"].as_i64().unwrap_or_default();
        let opened = self.open.entry(discussion).or_insert(head);
        *opened = head.min(*opened);
        let mut trees: Vec<&Value> = answer["comments"].as_array().into_iter().flatten().collect();
        while let Some(tree) = trees.pop() {
            let id = tree["id"].as_i64().unwrap_or_default();
            // An earlier page has what this one repeats.
            if tree["is_repeated"] != true {
                let (text, mentions, votes) = (text(&tree["text"]), mentions(tree), Votes::from_json(tree));
                let comment = Comment { discussion, text, mentions, votes };
                self.contents.comments.insert(id, comment);
            }
            trees.extend(tree["replies"].as_array().into_iter().flatten());
        }
    }

    /// The newest discussions in the list.
    pub(crate) fn newest(&self, count: usize) -> Vec<i64> {
        self.contents.discussions.keys().rev().take(count).copied().collect()
    }

    pub(crate) fn apply(&mut self, event: &Value) {
        let id = event["event_id"].as_i64().unwrap_or_default();
        let Some(discussion) = event["discussion_id"].as_i64() else { return };
        if event["community_id"] != self.community {
            return;
        }
        if id > self.head {
            self.contents.apply_to_discussions(event);
        }
        if event["type"] == "new_discussion" {
            // A new discussion has no older comments.
            self.open.entry(discussion).or_insert(id);
        }
        if self.open.get(&discussion).is_some_and(|head| id > *head) {
            self.contents.apply_to_comments(event);
        }
    }

    /// How the page differs from what it should show of `all`.
    pub(crate) fn difference(&self, all: &Contents) -> Option<String> {
        let is_shown = |comment: &Comment| self.open.contains_key(&comment.discussion);
        let discussions = all.discussions.iter().filter(|(_, discussion)| discussion.community == self.community);
        let comments = all.comments.iter().filter(|(_, comment)| is_shown(comment));
        let expected = Contents {
            discussions: discussions.map(|(id, discussion)| (*id, discussion.clone())).collect(),
            comments: comments.map(|(id, comment)| (*id, comment.clone())).collect(),
            ballots: BTreeMap::new(),
            read: BTreeMap::new(),
            notifications: BTreeMap::new(),
            follows: BTreeMap::new(),
            summaries: BTreeMap::new(),
        };
        self.contents.difference(&expected)
    }
}
