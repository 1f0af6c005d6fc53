//! The law of events: for every client, a snapshot folded with the events after it equals a fresh snapshot.
//!
//! Several users make random changes in several communities of a real server. Watchers begin at random times, while writes are
//! under way, and fold the events that they get. At the end each watcher's page is compared with the server's answers, and its
//! events with the outbox, which says what its user may see.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use chrono::{DateTime, FixedOffset};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::app::{ArticleId, Client, CommunityId, EventId, Queue, TestApp, UserId};

#[derive(Clone, Debug)]
enum Step {
    Discuss { user: usize, placement: usize },
    Comment { user: usize, discussion: usize },
    Reply { user: usize, comment: usize },
    EditDiscussion { user: usize, discussion: usize },
    Resolve { user: usize, discussion: usize, to: bool },
    DeleteDiscussion { user: usize, discussion: usize },
    EditComment { user: usize, comment: usize },
    DeleteComment { user: usize, comment: usize },
    VoteOnDiscussion { user: usize, discussion: usize, value: i64 },
    VoteOnComment { user: usize, comment: usize, value: i64 },
    Read { user: usize, comment: usize, how: usize },
    ReadArticle { user: usize, placement: usize },
    FollowArticle { user: usize, placement: usize, level: usize },
    FollowDiscussion { user: usize, discussion: usize, level: usize },
    Summarize { user: usize, placement: usize, text: usize },
    DeleteSummary { user: usize, placement: usize },
    Join { user: usize, community: usize, role: usize },
    Leave { user: usize, community: usize },
    Rename { user: usize, number: usize },
    Watch { user: usize, snapshot_first: bool },
}

/// Simultaneous steps, and whether all watchers poll meanwhile.
type Batch = (Vec<Step>, bool);

const USERS: usize = 4;
const COMMUNITIES: usize = 4;
/// The last community is the pseudonymous one.
const PSEUDONYMOUS: usize = 3;
const LEVELS: [&str; 3] = ["follow", "mute", "default"];
const ROLES: [&str; 4] = ["member", "reviewer", "moderator", "admin"];

fn step() -> impl Strategy<Value = Step> {
    let (user, community, which) = (0..USERS, 0..COMMUNITIES, 0..1000_usize);
    let by = move || (user.clone(), which.clone());
    prop_oneof![
        4 => by().prop_map(|(user, placement)| Step::Discuss { user, placement }),
        8 => by().prop_map(|(user, discussion)| Step::Comment { user, discussion }),
        5 => by().prop_map(|(user, comment)| Step::Reply { user, comment }),
        3 => by().prop_map(|(user, discussion)| Step::EditDiscussion { user, discussion }),
        3 => (by(), any::<bool>()).prop_map(|((user, discussion), to)| Step::Resolve { user, discussion, to }),
        1 => by().prop_map(|(user, discussion)| Step::DeleteDiscussion { user, discussion }),
        4 => by().prop_map(|(user, comment)| Step::EditComment { user, comment }),
        3 => by().prop_map(|(user, comment)| Step::DeleteComment { user, comment }),
        4 => (by(), -1..=1_i64)
            .prop_map(|((user, discussion), value)| Step::VoteOnDiscussion { user, discussion, value }),
        4 => (by(), -1..=1_i64).prop_map(|((user, comment), value)| Step::VoteOnComment { user, comment, value }),
        6 => (by(), 0..4_usize).prop_map(|((user, comment), how)| Step::Read { user, comment, how }),
        1 => by().prop_map(|(user, placement)| Step::ReadArticle { user, placement }),
        3 => (by(), 0..LEVELS.len())
            .prop_map(|((user, placement), level)| Step::FollowArticle { user, placement, level }),
        4 => (by(), 0..LEVELS.len())
            .prop_map(|((user, discussion), level)| Step::FollowDiscussion { user, discussion, level }),
        5 => (by(), 0..3_usize)
            .prop_map(|((user, placement), text)| Step::Summarize { user, placement, text }),
        2 => by().prop_map(|(user, placement)| Step::DeleteSummary { user, placement }),
        4 => (0..USERS, community.clone(), 0..ROLES.len())
            .prop_map(|(user, community, role)| Step::Join { user, community, role }),
        2 => (0..USERS, community).prop_map(|(user, community)| Step::Leave { user, community }),
        3 => by().prop_map(|(user, number)| Step::Rename { user, number }),
        2 => (0..USERS, any::<bool>()).prop_map(|(user, snapshot_first)| Step::Watch { user, snapshot_first }),
    ]
}

struct World {
    app: TestApp,
    users: Vec<Client>,
    communities: Vec<CommunityId>,
    articles: Vec<ArticleId>,
    placements: Vec<(ArticleId, CommunityId)>,
    /// The existing discussions and comments.
    discussions: Mutex<Vec<Value>>,
    comments: Mutex<Vec<Value>>,
}

impl World {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let mut communities = Vec::new();
        for kind in ["public", "private", "hidden", "private"] {
            communities.push(app.community(kind).await);
        }
        let articles = vec![app.article(&communities).await, app.article(&communities[1..]).await];
        app.sql(&format!(
            "update community_articles set is_pseudonymous = true where community_id = {}",
            communities[PSEUDONYMOUS]
        ))
        .await;
        let mut users = Vec::new();
        for number in 0..USERS {
            let user = app.user(&format!("real-name-{number}")).await;
            // At first most users are members of most communities.
            for (index, community) in communities.iter().enumerate() {
                if (number + index) % 3 != 2 {
                    app.join(user, *community, ROLES[(number * index) % ROLES.len()]).await;
                }
            }
            users.push(app.client(user));
        }
        let placements = articles.iter().flat_map(|article| communities.iter().map(|community| (*article, *community)));
        let placements =
            placements.filter(|(article, community)| *article == articles[0] || *community != communities[0]).collect();
        Self {
            app,
            users,
            communities,
            articles,
            placements,
            discussions: Mutex::default(),
            comments: Mutex::default(),
        }
    }

    fn pick(list: &Mutex<Vec<Value>>, which: usize) -> Option<Value> {
        let list = list.lock().unwrap();
        (!list.is_empty()).then(|| list[which % list.len()].clone())
    }

    /// A text that mentions a user by several names that they may have, where people write under their names.
    fn mentioning(&self, text: &str, discussion: &Value, which: usize) -> String {
        if discussion["community_id"] == self.communities[PSEUDONYMOUS] {
            return text.to_owned();
        }
        let user = which % USERS;
        format!("{text}, @real-name-{user}-0, @real-name-{user}-1, @Real-Name-{user}")
    }

    fn summary(&self, placement: usize) -> String {
        let (article, community) = self.placements[placement % self.placements.len()];
        format!("/articles/{article}/summary?community_id={community}")
    }

    /// Takes the step if its user may. Returns a watcher if the step begins one.
    async fn take(&self, step: Step) -> Option<Watcher> {
        let path = |kind: &str, thing: &Value| format!("/{kind}/{}", thing["id"]);
        let answer = match step {
            Step::Discuss { user, placement } => {
                let (article, community) = self.placements[placement % self.placements.len()];
                let body =
                    json!({ "community_id": community, "topic": format!("Topic {placement}"), "text": "As I see it" });
                let answer = self.users[user].post(&format!("/articles/{article}/discussions"), body).await;
                if answer.status == 201 {
                    self.discussions.lock().unwrap().push(answer.body.clone());
                }
                answer
            }
            Step::Comment { user, discussion } => {
                let discussion = Self::pick(&self.discussions, discussion)?;
                let path = format!("{}/comments", path("discussions", &discussion));
                let text = self.mentioning("Yes", &discussion, user + 1);
                let answer = self.users[user].post(&path, json!({ "text": text })).await;
                if answer.status == 201 {
                    self.comments.lock().unwrap().push(answer.body.clone());
                }
                answer
            }
            Step::Reply { user, comment } => {
                let parent = Self::pick(&self.comments, comment)?;
                let path = format!("/discussions/{}/comments", parent["discussion_id"]);
                let body = json!({ "text": "No", "parent_id": parent["id"] });
                let answer = self.users[user].post(&path, body).await;
                if answer.status == 201 {
                    self.comments.lock().unwrap().push(answer.body.clone());
                }
                answer
            }
            Step::EditDiscussion { user, discussion } => {
                let found = Self::pick(&self.discussions, discussion)?;
                let text = self.mentioning(&format!("On second thought {discussion}"), &found, discussion);
                let body = json!({ "text": text });
                self.users[user].patch(&path("discussions", &found), body).await
            }
            Step::Resolve { user, discussion, to } => {
                let found = Self::pick(&self.discussions, discussion)?;
                self.users[user].patch(&path("discussions", &found), json!({ "is_resolved": to })).await
            }
            Step::DeleteDiscussion { user, discussion } => {
                self.users[user].delete(&path("discussions", &Self::pick(&self.discussions, discussion)?)).await
            }
            Step::EditComment { user, comment } => {
                let found = Self::pick(&self.comments, comment)?;
                let body = json!({ "text": format!("Rather {comment}") });
                self.users[user].patch(&path("comments", &found), body).await
            }
            Step::DeleteComment { user, comment } => {
                self.users[user].delete(&path("comments", &Self::pick(&self.comments, comment)?)).await
            }
            Step::VoteOnDiscussion { user, discussion, value } => {
                let found = Self::pick(&self.discussions, discussion)?;
                self.users[user].put(&format!("{}/vote", path("discussions", &found)), json!({ "value": value })).await
            }
            Step::VoteOnComment { user, comment, value } => {
                let found = Self::pick(&self.comments, comment)?;
                self.users[user].put(&format!("{}/vote", path("comments", &found)), json!({ "value": value })).await
            }
            Step::Read { user, comment, how } => {
                let comment = Self::pick(&self.comments, comment)?;
                let (call, body) = match how {
                    0 => ("read", json!({ "discussion": true, "comment_ids": [comment["id"]] })),
                    1 => {
                        ("read", json!({ "comment_ids": [comment["id"], comment["parent_id"].as_i64().unwrap_or(1)] }))
                    }
                    2 => ("read", json!({ "up_to_comment_id": comment["id"] })),
                    _ => ("unread", json!({ "from_comment_id": comment["id"] })),
                };
                self.users[user].post(&format!("/discussions/{}/{call}", comment["discussion_id"]), body).await
            }
            Step::ReadArticle { user, placement } => {
                let (article, community) = self.placements[placement % self.placements.len()];
                let body = json!({ "community_id": community });
                self.users[user].post(&format!("/articles/{article}/read"), body).await
            }
            Step::FollowArticle { user, placement, level } => {
                let (article, community) = self.placements[placement % self.placements.len()];
                let body = json!({ "community_id": community, "level": LEVELS[level] });
                self.users[user].put(&format!("/articles/{article}/follow"), body).await
            }
            Step::FollowDiscussion { user, discussion, level } => {
                let found = Self::pick(&self.discussions, discussion)?;
                let body = json!({ "level": LEVELS[level] });
                self.users[user].put(&format!("{}/follow", path("discussions", &found)), body).await
            }
            Step::Summarize { user, placement, text } => {
                let body = json!({ "text": format!("In short {text}") });
                self.users[user].put(&self.summary(placement), body).await
            }
            Step::DeleteSummary { user, placement } => self.users[user].delete(&self.summary(placement)).await,
            Step::Join { user, community, role } => {
                self.app.join(self.users[user].user, self.communities[community], ROLES[role]).await;
                return None;
            }
            Step::Leave { user, community } => {
                self.app.leave(self.users[user].user, self.communities[community]).await;
                return None;
            }
            Step::Rename { user, number } => {
                let rename = sqlx::query("update users set username = $2, avatar_url = nullif($3, '') where id = $1")
                    .bind(self.users[user].user)
                    .bind(format!("real-name-{user}-{}", number % 7))
                    .bind(if number % 2 == 0 { "real-name.png" } else { "" });
                rename.execute(&self.app.pool).await.unwrap();
                return None;
            }
            Step::Watch { user, snapshot_first } => {
                return Watcher::begin(self, &self.users[user], snapshot_first).await;
            }
        };
        assert!(answer.status < 500, "{}", answer.body);
        None
    }
}

/// A discussion or comment that a client shows, with the event up to which it is surely current.
#[derive(Clone, Debug)]
struct Shown {
    community: CommunityId,
    from: EventId,
    items: BTreeMap<i64, Value>,
    /// When the user joined the community.
    joined_at: Option<Time>,
    /// What the user follows of the article of a list.
    article_level: String,
}

type Time = DateTime<FixedOffset>;

fn time(json: &Value) -> Option<Time> {
    json.as_str().map(|text| text.parse().unwrap())
}

/// Where the viewer of an answer joined that community.
fn joined_at(answer: &Value, community: CommunityId) -> Option<Time> {
    time(&membership(answer, community)?["joined_at"])
}

/// The user's membership, as a list has it.
fn membership(answer: &Value, community: CommunityId) -> Option<&Value> {
    let memberships = answer["viewer"]["memberships"].as_array()?;
    memberships.iter().find(|one| one["community_id"] == community)
}

/// What a member knows of the comments that they have not read in a discussion, after an event of its comments. `counts` says
/// whether the event's comment is unread, and None if nobody knows.
fn count_unread(item: &mut Value, event: &Value, counts: Option<bool>) {
    let (known, version) = (item["comment_version"].as_i64().unwrap(), event["comment_version"].as_i64().unwrap());
    if version <= known {
        return;
    }
    item["comment_version"] = json!(version);
    let (count, id) = (item["unread_count"].as_i64(), event["comment_id"].as_i64().unwrap());
    let first = item["first_unread_comment_id"].as_i64();
    match (count, counts) {
        (Some(_), Some(false)) if version == known + 1 => {}
        (Some(count), Some(true)) if version == known + 1 => {
            item["unread_count"] = json!(count + 1);
            item["first_unread_comment_id"] = json!(first.map_or(id, |first| first.min(id)));
        }
        // A client reads the discussion again.
        _ => item["unread_count"] = Value::Null,
    }
}

impl Shown {
    /// Works out which discussions of a list are followed.
    fn follow(&mut self) {
        for item in self.items.values_mut() {
            item["is_followed"] = match [item["follow_level"].as_str().unwrap(), &self.article_level] {
                ["follow", _] | ["default", "follow"] => json!(true),
                ["mute", _] | ["default", "mute"] => json!(false),
                _ => item["has_written"].clone(),
            };
        }
    }
}

#[derive(Clone, Default)]
struct Snapshots {
    user: UserId,
    /// The pseudonyms of the user, by community and article.
    pseudonyms: BTreeSet<(CommunityId, ArticleId, String)>,
    lists: BTreeMap<(ArticleId, CommunityId), Shown>,
    /// The comments of each discussion, flat.
    trees: BTreeMap<i64, Shown>,
    /// The summary of each list, null for none. An answer names no event: its revision says which events are newer.
    summaries: BTreeMap<(ArticleId, CommunityId), Value>,
}

impl Snapshots {
    /// Loads everything of a community that the client may see now.
    async fn take(&mut self, world: &World, client: &Client, community: CommunityId) {
        for article in &world.articles {
            let path = format!("/articles/{article}/discussions?community_id={community}&limit=100");
            let list = client.get(&path).await;
            if list.status != 200 {
                continue;
            }
            let list = list.body;
            assert_eq!(list["next_cursor"], Value::Null);
            let joined_at = joined_at(&list, community);
            let items: BTreeMap<_, _> = list["discussions"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| (it["id"].as_i64().unwrap(), it.clone()))
                .collect();
            let article_level = membership(&list, community).map_or(Value::Null, |one| one["follow_level"].clone());
            let article_level = article_level.as_str().unwrap_or("default").to_owned();
            for discussion in items.keys() {
                if let Some((from, items)) = comments(client, *discussion).await {
                    let shown = Shown { community, from, items, joined_at, article_level: article_level.clone() };
                    self.trees.insert(*discussion, shown);
                }
            }
            let summary = client.get(&format!("/articles/{article}/summary?community_id={community}")).await;
            assert!(matches!(summary.status, 200 | 401 | 403 | 404), "{}", summary.body);
            let shown = if summary.status == 200 { summary.body } else { Value::Null };
            self.summaries.insert((*article, community), shown);
            let from = list["last_event_id"].as_i64().unwrap();
            self.lists.insert((*article, community), Shown { community, from, items, joined_at, article_level });
        }
    }

    fn forget(&mut self, community: CommunityId) {
        self.lists.retain(|_, list| list.community != community);
        self.trees.retain(|_, tree| tree.community != community);
        self.summaries.retain(|(_, of), _| *of != community);
    }

    /// Whether the user has written what the event shows.
    fn is_own(&self, event: &Value) -> bool {
        let (author, id) = (&event["author"], |name: &str| event[name].as_i64().unwrap_or_default());
        match author["username"].as_str() {
            Some(name) if author["id"].is_null() => {
                self.pseudonyms.contains(&(id("community_id"), id("article_id"), name.to_owned()))
            }
            _ => author["id"] == self.user,
        }
    }

    fn apply_marks(&mut self, event: &Value) {
        let id = |name: &str| event[name].as_i64().unwrap();
        let (event_id, discussion) = (id("event_id"), id("discussion_id"));
        assert_eq!(event["user_id"], self.user);
        if let Some(list) = self.lists.get_mut(&(id("article_id"), id("community_id")))
            && list.from < event_id
        {
            let item = list.items.get_mut(&discussion).expect("nothing comes before what it depends on");
            item["is_unread"] = event["is_unread"].clone();
            let is_known = item["unread_count"].is_i64();
            if is_known && item["comment_version"].as_i64() > event["comment_version"].as_i64() {
                item["unread_count"] = Value::Null;
            } else {
                for name in ["unread_count", "first_unread_comment_id", "comment_version"] {
                    item[name] = event[name].clone();
                }
            }
        }
        if let Some(tree) = self.trees.get_mut(&discussion)
            && tree.from < event_id
        {
            let ranges: Vec<(i64, i64)> = serde_json::from_value(event["read_comments"].clone()).unwrap();
            for (id, item) in &mut tree.items {
                let is_read = ranges.iter().any(|(from, to)| (from..=to).contains(&id));
                let (user, pseudonyms) = (self.user, &self.pseudonyms);
                let author = &item["author"];
                let is_own = author["id"] == user
                    || author["id"].is_null()
                        && pseudonyms
                            .iter()
                            .any(|(within, _, name)| *within == tree.community && author["username"] == *name);
                let is_live = item["deleted_at"].is_null();
                item["is_unread"] = json!(is_live && !is_own && !is_read && time(&item["created_at"]) > tree.joined_at);
            }
        }
    }

    fn apply(&mut self, event: &Value) {
        let id = |name: &str| event[name].as_i64();
        let (event_id, kind) = (id("event_id").unwrap(), event["type"].as_str().unwrap());
        if kind == "author_changed" {
            let community = id("community_id").unwrap();
            for ((_, of), summary) in &mut self.summaries {
                if *of == community && summary.get("author").is_some_and(|person| person["id"] == event["author"]["id"])
                {
                    summary["author"] = event["author"].clone();
                }
            }
            for shown in self.lists.values_mut().chain(self.trees.values_mut()) {
                if shown.community == community && shown.from < event_id {
                    for item in shown.items.values_mut() {
                        for name in ["author", "resolved_by"] {
                            if item.get(name).is_some_and(|person| person["id"] == event["author"]["id"]) {
                                item[name] = event["author"].clone();
                            }
                        }
                        for person in item["mentions"].as_array_mut().unwrap() {
                            if person["id"] == event["author"]["id"] {
                                *person = event["author"].clone();
                            }
                        }
                    }
                }
            }
            return;
        }
        if kind == "updated_summary" {
            let key = (id("article_id").unwrap(), id("community_id").unwrap());
            let Some(shown) = self.summaries.get_mut(&key) else { return };
            if shown["revision"].as_i64() < id("revision") {
                *shown = event.clone();
                for name in ["event_id", "type", "timestamp", "deleted_at"] {
                    shown.as_object_mut().unwrap().remove(name);
                }
            }
            return;
        }
        if kind.contains("notification") {
            // A client reads the list of notifications again.
            return;
        }
        let (community, discussion) = (id("community_id").unwrap(), id("discussion_id").unwrap_or_default());
        let time = &event["timestamp"];
        let is_own = self.is_own(event);
        if kind == "read_state_changed" {
            return self.apply_marks(event);
        }
        // Nobody knows who wrote what was deleted since. A client reads the discussion again.
        let writes = |is_own| if event["deleted_at"].is_null() { json!(is_own) } else { Value::Null };
        if kind == "follow_changed" {
            let list = self.lists.get_mut(&(id("article_id").unwrap(), community));
            let Some(list) = list.filter(|list| list.from < event_id) else { return };
            match event["discussion_id"].as_i64() {
                None => event["level"].as_str().unwrap().clone_into(&mut list.article_level),
                Some(discussion) => {
                    let item = list.items.get_mut(&discussion).expect("nothing comes before what it depends on");
                    item["follow_level"] =
                        if event["is_default"] == true { json!("default") } else { event["level"].clone() };
                }
            }
            return list.follow();
        }
        // What is new in the event is unread if it is live, of somebody else, and younger than the membership.
        let is_unread = |joined_at: Option<Time>| {
            !is_own
                && event["deleted_at"].is_null()
                && self::time(time) > Some(joined_at.expect("a watcher is a member"))
        };
        if matches!(kind, "votes_changed" | "own_vote_changed") {
            let (shown, item) = match id("comment_id") {
                None => (self.lists.get_mut(&(id("article_id").unwrap(), community)), discussion),
                Some(comment) => (self.trees.get_mut(&discussion), comment),
            };
            let Some(shown) = shown.filter(|shown| shown.from < event_id) else { return };
            let item = shown.items.get_mut(&item).expect("nothing comes before what it depends on");
            if kind == "own_vote_changed" {
                item["own_vote"] = event["value"].clone();
            } else {
                for name in ["upvotes", "downvotes"] {
                    item[name] = event[name].clone();
                }
            }
            return;
        }
        if let Some(list) = self.lists.get_mut(&(id("article_id").unwrap(), community))
            && list.from < event_id
        {
            let item = list.items.entry(discussion).or_insert_with(|| {
                assert_eq!(kind, "new_discussion", "nothing comes before what it depends on");
                json!({})
            });
            let mut set = |name: &str, value: &Value| item[name] = value.clone();
            match kind {
                "new_discussion" | "updated_discussion" => {
                    set("id", &event["discussion_id"]);
                    for name in [
                        "community_id",
                        "article_id",
                        "topic",
                        "text",
                        "author",
                        "mentions",
                        "is_resolved",
                        "comment_count",
                        "upvotes",
                        "downvotes",
                        "edited_at",
                        "resolved_at",
                        "resolved_by",
                    ] {
                        set(name, &event[name]);
                    }
                    set("updated_at", time);
                    set("deleted_at", &event["deleted_at"]);
                    if kind == "new_discussion" {
                        set("created_at", time);
                        set("own_vote", &json!(0));
                        set("is_unread", &json!(is_unread(list.joined_at)));
                        set("unread_count", &json!(0));
                        set("first_unread_comment_id", &Value::Null);
                        set("comment_version", &json!(0));
                        set("follow_level", &json!("default"));
                        set("has_written", &writes(is_own));
                    }
                }
                "deleted_discussion" => {
                    for name in ["topic", "text", "author", "resolved_by"] {
                        set(name, &Value::Null);
                    }
                    set("mentions", &json!([]));
                    set("deleted_at", time);
                    set("is_unread", &json!(false));
                }
                "new_comment" | "deleted_comment" => {
                    set("comment_count", &event["comment_count"]);
                    let unread = item["first_unread_comment_id"].as_i64();
                    let counts = match kind {
                        "new_comment" => Some(is_unread(list.joined_at)),
                        // Nothing below the first unread comment is unread.
                        _ if unread.is_none_or(|first| id("comment_id").unwrap() < first) => Some(false),
                        _ => None,
                    };
                    count_unread(item, event, counts);
                    if kind == "new_comment" && item["has_written"] == false {
                        item["has_written"] = writes(is_own);
                    }
                }
                _ => {}
            }
            list.follow();
        }
        if kind == "new_discussion" {
            let joined_at =
                self.lists.values().find(|list| list.community == community).and_then(|list| list.joined_at);
            let article_level = "default".to_owned();
            let nothing = || Shown { community, from: event_id, items: BTreeMap::new(), joined_at, article_level };
            self.trees.entry(discussion).or_insert_with(nothing);
        }
        if let (Some(comment), Some(tree)) = (id("comment_id"), self.trees.get_mut(&discussion))
            && tree.from < event_id
        {
            if let Some(parent) = id("parent_id") {
                assert!(tree.items.contains_key(&parent), "nothing comes before what it depends on");
            }
            let item = tree.items.entry(comment).or_insert_with(|| {
                assert_eq!(kind, "new_comment", "nothing comes before what it depends on");
                json!({})
            });
            let mut set = |name: &str, value: &Value| item[name] = value.clone();
            match kind {
                "new_comment" => {
                    set("is_unread", &json!(is_unread(tree.joined_at)));
                    set("id", &event["comment_id"]);
                    for name in ["discussion_id", "parent_id", "depth", "edited_at"] {
                        set(name, &event[name]);
                    }
                    for name in ["text", "author", "mentions", "upvotes", "downvotes"] {
                        set(name, &event[name]);
                    }
                    set("own_vote", &json!(0));
                    set("created_at", time);
                    set("updated_at", time);
                    set("deleted_at", &event["deleted_at"]);
                }
                "updated_comment" => {
                    for name in ["text", "author", "mentions", "upvotes", "downvotes"] {
                        set(name, &event[name]);
                    }
                    set("edited_at", &event["edited_at"]);
                    set("updated_at", time);
                    set("deleted_at", &event["deleted_at"]);
                    if event["deleted_at"].is_string() {
                        set("is_unread", &json!(false));
                    }
                }
                _ => {
                    set("is_unread", &json!(false));
                    set("text", &Value::Null);
                    set("author", &Value::Null);
                    set("mentions", &json!([]));
                    set("deleted_at", time);
                }
            }
        }
    }
}

fn flatten(comments: Value, into: &mut BTreeMap<i64, Value>) {
    let Value::Array(comments) = comments else { panic!("comments are {comments}") };
    for mut comment in comments {
        flatten(comment.as_object_mut().unwrap().remove("replies").unwrap(), into);
        if comment.get("is_repeated") != Some(&json!(true)) {
            let twice = into.insert(comment["id"].as_i64().unwrap(), comment);
            assert_eq!(twice, None, "a comment is on one page");
        }
    }
}

/// All comments of a discussion, read in small pages, and the event up to which all of them are current. None if the client may
/// not read them, or not any more.
async fn comments(client: &Client, discussion: i64) -> Option<(EventId, BTreeMap<i64, Value>)> {
    let (mut from, mut items, mut cursor) = (EventId::MAX, BTreeMap::new(), String::new());
    loop {
        let page = client.get(&format!("/discussions/{discussion}/comments?limit=1{cursor}")).await;
        if page.status != 200 {
            return None;
        }
        from = from.min(page.body["last_event_id"].as_i64().unwrap());
        flatten(page.body["comments"].clone(), &mut items);
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Some((from, items)),
        }
    }
}

/// A client that shows everything of its user's communities and keeps it current by events.
struct Watcher {
    queue: Queue,
    start: EventId,
    events: Vec<Value>,
    /// What it showed at `start`.
    began: Snapshots,
    shows: Snapshots,
}

impl Watcher {
    /// None if the user is in no community.
    async fn begin(world: &World, client: &Client, snapshot_first: bool) -> Option<Self> {
        let mut shows = Snapshots { user: client.user, ..Snapshots::default() };
        // Start before reading the list of communities, so that an event reports each community joined after that.
        let before = world.app.state.realtime.hub.head().get();
        if snapshot_first {
            Self::show_all(&mut shows, world, client).await;
        }
        let answer = client.post("/register", json!({})).await;
        if answer.status == 403 {
            return None;
        }
        let answer = answer.expect(200);
        let id = answer["queue_id"].as_str().unwrap().to_owned();
        let mut queue = Queue {
            client: client.clone(),
            id,
            cursor: answer["last_event_id"].as_i64().unwrap(),
            has_notifications: true,
        };
        if snapshot_first {
            let all = shows.lists.values().chain(shows.trees.values());
            queue.cursor = all.map(|shown| shown.from).min().unwrap_or(before).min(before);
        } else {
            Self::show_all(&mut shows, world, client).await;
        }
        Some(Self { start: queue.cursor, queue, events: Vec::new(), began: shows.clone(), shows })
    }

    async fn show_all(shows: &mut Snapshots, world: &World, client: &Client) {
        for community in Self::communities(world, client.user).await {
            shows.take(world, client, community).await;
        }
    }

    async fn communities(world: &World, user: UserId) -> Vec<CommunityId> {
        let communities = sqlx::query_scalar("select community_id from memberships where user_id = $1 order by 1");
        communities.bind(user).fetch_all(&world.app.pool).await.unwrap()
    }

    async fn poll(&mut self, world: &World) {
        let events = self.queue.poll(0.0).await;
        let pseudonyms = sqlx::query_as("select community_id, article_id, name from pseudonyms where user_id = $1");
        let pseudonyms = pseudonyms.bind(self.queue.client.user).fetch_all(&world.app.pool).await.unwrap();
        self.shows.pseudonyms = pseudonyms.into_iter().collect();
        for event in events {
            if event["type"] == "membership_changed" {
                let community = event["community_id"].as_i64().unwrap();
                if event["role"].is_null() {
                    self.shows.forget(community);
                } else {
                    // The user has joined: only a GET has the community's earlier contents. Or they have another role: an admin
                    // follows all articles, unless they said otherwise.
                    self.shows.take(world, &self.queue.client, community).await;
                }
            } else {
                self.shows.apply(&event);
            }
            self.events.push(event);
        }
    }

    /// The events after `start` that the user may see by the outbox, and whether the user must have got them. Events of a
    /// membership that has ended could be got only before its end.
    async fn may_see(&self, world: &World) -> BTreeMap<EventId, bool> {
        let rows: Vec<(EventId, CommunityId, Option<UserId>, Value)> =
            sqlx::query_as("select event_id, community_id, user_id, payload from outbox order by event_id")
                .fetch_all(&world.app.pool)
                .await
                .unwrap();
        let mut member_of = BTreeSet::new();
        let mut seen: BTreeMap<EventId, (CommunityId, bool)> = BTreeMap::new();
        for (event_id, community, user, payload) in rows {
            let visible = match user {
                None => member_of.contains(&community),
                Some(user) if user == self.queue.client.user && payload["type"] != "membership_changed" => {
                    member_of.contains(&community)
                }
                Some(user) if user == self.queue.client.user => {
                    if payload["role"].is_null() {
                        member_of.remove(&community);
                        let ended = seen.values_mut().filter(|(within, _)| *within == community);
                        ended.for_each(|(_, must)| *must = false);
                    } else {
                        member_of.insert(community);
                    }
                    true
                }
                Some(_) => false,
            };
            if visible && event_id > self.start {
                // Changes of memberships are delivered in any case. They count as community 0.
                let within = if payload["type"] == "membership_changed" { 0 } else { community };
                seen.insert(event_id, (within, true));
            }
        }
        seen.into_iter().map(|(event_id, (_, must))| (event_id, must)).collect()
    }

    async fn check(mut self, world: &World, head: EventId) {
        while self.queue.cursor < head {
            self.poll(world).await;
        }
        let received: Vec<_> = self.events.iter().map(|event| event["event_id"].as_i64().unwrap()).collect();
        let may_see = self.may_see(world).await;
        let must_see: Vec<_> = may_see.iter().filter(|(_, must)| **must).map(|(event_id, _)| *event_id).collect();
        assert!(received.windows(2).all(|pair| pair[0] < pair[1]), "in order, once: {received:?}");
        assert!(
            received.iter().all(|event_id| may_see.contains_key(event_id)),
            "nothing else: {received:?} of {may_see:?}"
        );
        assert!(must_see.iter().all(|event_id| received.contains(event_id)), "all of it: {received:?} of {may_see:?}");
        for event in &self.events {
            if event["community_id"] == world.communities[PSEUDONYMOUS] && event["type"] != "membership_changed" {
                assert_ne!(event["type"], "author_changed");
                assert!(!event.to_string().contains("real-name"), "{event}");
                for person in ["author", "resolved_by"] {
                    assert_eq!(event[person].get("id").unwrap_or(&Value::Null), &Value::Null);
                }
            }
        }
        self.equals_fresh(world).await;

        // A client that was away all the time gets the same events by now redacted, and comes to the same.
        (self.queue.cursor, self.shows, self.events) = (self.start, self.began.clone(), Vec::new());
        while self.queue.cursor < head {
            self.poll(world).await;
        }
        self.equals_fresh(world).await;
        let id = |event: &Value, name: &str| event[name].as_i64();
        let deleted = |kind: &str, name: &str| -> BTreeSet<_> {
            self.events.iter().filter(|event| event["type"] == kind).map(|event| id(event, name)).collect()
        };
        let (comments, discussions) =
            (deleted("deleted_comment", "comment_id"), deleted("deleted_discussion", "discussion_id"));
        for event in &self.events {
            let is_deleted = match event["type"].as_str().unwrap() {
                "updated_summary" => {
                    let place = |event: &Value| (id(event, "article_id"), id(event, "community_id"));
                    let deletes = |later: &&Value| {
                        later["type"] == "updated_summary"
                            && place(later) == place(event)
                            && later["text"].is_null()
                            && later["deleted_at"].is_null()
                    };
                    if deletes(&event) {
                        continue;
                    }
                    self.events
                        .iter()
                        .filter(deletes)
                        .any(|later| later["event_id"].as_i64() > event["event_id"].as_i64())
                }
                "new_comment" | "updated_comment" => comments.contains(&id(event, "comment_id")),
                "new_discussion" | "updated_discussion" => discussions.contains(&id(event, "discussion_id")),
                _ => continue,
            };
            let shown = ["topic", "text", "author"].iter().filter(|name| !event[**name].is_null()).count();
            assert_eq!((shown == 0, event["deleted_at"].is_string()), (is_deleted, is_deleted), "{event}");
        }
    }

    async fn equals_fresh(&self, world: &World) {
        let mut fresh = Snapshots::default();
        Self::show_all(&mut fresh, world, &self.queue.client).await;
        let items = |shown: &BTreeMap<_, Shown>| -> BTreeMap<_, _> {
            shown.iter().map(|(key, shown)| (*key, shown.items.clone())).collect()
        };
        let (mut lists, mut fresh_lists) = (items(&self.shows.lists), items(&fresh.lists));
        for (key, list) in &mut lists {
            for (id, item) in list {
                // Where the events do not tell something, a client reads the discussion again.
                if item["has_written"].is_null() {
                    for item in [Some(&mut *item), fresh_lists.get_mut(key).and_then(|list| list.get_mut(id))]
                        .into_iter()
                        .flatten()
                    {
                        (item["has_written"], item["is_followed"]) = (Value::Null, Value::Null);
                    }
                }
                if item["unread_count"].is_null() {
                    for item in
                        [Some(item), fresh_lists.get_mut(key).and_then(|list| list.get_mut(id))].into_iter().flatten()
                    {
                        item["unread_count"] = Value::Null;
                        item["first_unread_comment_id"] = Value::Null;
                    }
                }
            }
        }
        assert_eq!(lists, fresh_lists);
        let summaries = |of: &Self| -> BTreeMap<_, Value> {
            let live = of.shows.summaries.iter().filter(|(_, summary)| !summary["text"].is_null());
            live.map(|(key, summary)| (*key, summary.clone())).collect()
        };
        fresh.summaries.retain(|_, summary| !summary.is_null());
        assert_eq!(summaries(self), fresh.summaries);
        let trees = |shown: &BTreeMap<i64, Shown>| -> BTreeMap<_, _> {
            shown.iter().map(|(key, shown)| (*key, shown.items.clone())).collect()
        };
        assert_eq!(trees(&self.shows.trees), trees(&fresh.trees));
    }
}

async fn live(history: Vec<Batch>) {
    let world = Arc::new(World::new().await);
    world.app.settled().await;
    let mut watchers: Vec<Watcher> = Vec::new();
    for user in &world.users {
        watchers.extend(Watcher::begin(&world, user, false).await);
    }
    for (steps, polling) in history {
        let mut under_way = JoinSet::new();
        for step in steps {
            let world = Arc::clone(&world);
            under_way.spawn(async move { world.take(step).await });
        }
        if polling {
            for mut watcher in watchers.drain(..) {
                let world = Arc::clone(&world);
                under_way.spawn(async move {
                    watcher.poll(&world).await;
                    Some(watcher)
                });
            }
        }
        while let Some(done) = under_way.join_next().await {
            watchers.extend(done.unwrap());
        }
    }
    let head = world.app.settled().await;
    for watcher in watchers {
        watcher.check(&world, head).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5, failure_persistence: None, max_shrink_iters: 30, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_folded_with_the_events_after_it_is_a_fresh_snapshot(
        history in proptest::collection::vec((proptest::collection::vec(step(), 1..8), any::<bool>()), 8..24)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live(history));
    }
}
