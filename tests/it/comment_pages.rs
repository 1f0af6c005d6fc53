//! Pages of comments and of discussions are bounded in items and in bytes, and have each item once.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::app::{ArticleId, Client, CommunityId, TestApp};

/// What a page may have at most: 1 MiB, and what is not counted exactly.
const MOST_BYTES: usize = 1_100_000;

struct Story {
    app: TestApp,
    community: CommunityId,
    article: ArticleId,
    ada: Client,
    discussion: Value,
}

impl Story {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let community = app.community("public").await;
        let article = app.article(&[community]).await;
        let ada = app.member("ada", community).await;
        let discussion = ada.discussion(article, community, "Long").await;
        Self { app, community, article, ada, discussion }
    }

    fn path(&self) -> String {
        format!("/discussions/{}/comments", self.discussion["id"])
    }

    /// Writes comments of this text in one statement, each below the comment that `parent` names, and returns the last.
    async fn fill(&self, count: usize, parent: Option<&Value>, text: &str) {
        let (parent_id, depth) =
            parent.map_or((Value::Null, 1), |parent| (parent["id"].clone(), parent["depth"].as_i64().unwrap() + 1));
        let sql = format!(
            "insert into comments (id, discussion_id, root_id, parent_id, depth, author_id, text) overriding system value
             select next.id, {}, coalesce((select root_id from comments where id = {parent_id}), next.id), {parent_id}, {depth}, {},
                    repeat('{text}', {})
             from (select nextval(pg_get_serial_sequence('comments', 'id')) as id from generate_series(1, {count})) next",
            self.discussion["id"],
            self.ada.user,
            if text.chars().count() == 1 { 50_000 } else { 1 },
        );
        self.app.sql(&sql).await;
    }
}

/// The comments of a page that it does not repeat, with the page's checks.
fn new_comments(page: &Value, seen: &BTreeMap<i64, Value>) -> Vec<Value> {
    let mut found = Vec::new();
    let mut trees: Vec<(&Value, &Value)> =
        page["comments"].as_array().unwrap().iter().map(|tree| (tree, &Value::Null)).collect();
    while let Some((tree, parent)) = trees.pop() {
        assert_eq!(&tree["parent_id"], parent, "a page is made of trees");
        let replies = tree["replies"].as_array().unwrap();
        match tree.get("is_repeated") {
            None => {
                let mut comment = tree.clone();
                comment.as_object_mut().unwrap().remove("replies");
                found.push(comment);
            }
            Some(repeated) => {
                assert_eq!((repeated, &tree["text"], replies.is_empty()), (&json!(true), &Value::Null, false));
                assert!(seen.contains_key(&tree["id"].as_i64().unwrap()), "only what an earlier page had is repeated");
            }
        }
        trees.extend(replies.iter().map(|reply| (reply, &tree["id"])));
    }
    found
}

/// Reads all pages. `between` is called after each. Returns the comments by id, and the number of pages.
async fn read_all(
    client: &Client,
    path: &str,
    limit: usize,
    mut between: impl AsyncFnMut(usize),
) -> (BTreeMap<i64, Value>, usize) {
    let (mut seen, mut cursor, mut count) = (BTreeMap::new(), String::new(), 0);
    loop {
        let page = client.get(&format!("{path}?limit={limit}{cursor}")).await.expect(200);
        count += 1;
        let new = new_comments(&page, &seen);
        assert!(new.len() <= 5 * limit && !new.is_empty(), "{} comments on a page of {limit}", new.len());
        assert!(page.to_string().len() <= MOST_BYTES || new.len() == 1, "{} bytes", page.to_string().len());
        for comment in new {
            let twice = seen.insert(comment["id"].as_i64().unwrap(), comment);
            assert_eq!(twice, None, "each comment comes once");
        }
        between(count).await;
        match page["next_cursor"].as_str() {
            Some(next) => {
                assert_eq!(page["continues"], next.contains('-'));
                cursor = format!("&cursor={next}");
            }
            None => {
                assert_eq!(page["continues"], false);
                return (seen, count);
            }
        }
    }
}

#[tokio::test]
async fn a_root_with_long_replies_comes_in_pages_of_about_a_mebibyte() {
    let story = Story::new().await;
    let root = story.ada.comment(&story.discussion, "The root").await;
    // In JSON each of these characters has 3, 2 and 2 bytes.
    for text in ["文", "é", "\""] {
        story.fill(20, Some(&root), text).await;
    }
    story.fill(3, None, "Short").await;
    let (comments, pages) = read_all(&story.ada, &story.path(), 100, async |_| {}).await;
    assert_eq!(comments.len(), 64);
    assert!((7..=8).contains(&pages), "{pages} pages for 7 MB");
    // One that asks for one root gets no more.
    let (comments, _) = read_all(&story.ada, &story.path(), 1, async |_| {}).await;
    assert_eq!(comments.len(), 64);
}

#[tokio::test]
async fn a_root_with_many_replies_goes_on_page_after_page_while_comments_come_and_go() {
    let story = Story::new().await;
    let (ada, path) = (&story.ada, story.path());
    let root = ada.comment(&story.discussion, "The root").await;
    let first = ada.reply(&root, "First").await;
    let second = ada.reply(&root, "Second").await;
    story.fill(9, Some(&first), "Below the first").await;
    story.fill(9, Some(&second), "Below the second").await;
    let last = ada.comment(&story.discussion, "The last root").await;
    let before = read_all(ada, &path, 1, async |_| {}).await;
    assert_eq!((before.0.len(), before.1), (22, 5));

    let (during, _) = read_all(ada, &path, 1, async |count| match count {
        1 => {
            // What is deleted stays as a tombstone. What comes after the page is on a later one, and what comes before on none.
            ada.delete(&format!("/comments/{}", first["id"])).await.expect(204);
            ada.reply(&second, "Late").await;
            ada.comment(&story.discussion, "Another root").await;
        }
        3 => {
            ada.reply(&last, "A late reply to the last root").await;
            ada.delete(&format!("/comments/{}", root["id"])).await.expect(204);
        }
        _ => {}
    })
    .await;
    let after = read_all(ada, &path, 1, async |_| {}).await.0;
    assert_eq!(after.len(), 25);
    assert_eq!(during.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    // The order of a page does not depend on its size.
    let whole = read_all(ada, &path, 100, async |_| {}).await;
    assert_eq!((whole.0, whole.1), (after, 1));
}

/// The places (root, id) of the page's own comments, in the order of pages.
fn places(page: &Value) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    let mut trees: Vec<(&Value, i64)> =
        page["comments"].as_array().unwrap().iter().map(|tree| (tree, tree["id"].as_i64().unwrap())).collect();
    while let Some((tree, root)) = trees.pop() {
        if tree.get("is_repeated").is_none() {
            assert!(tree["text"].is_string(), "{tree}");
            found.push((root, tree["id"].as_i64().unwrap()));
        }
        trees.extend(tree["replies"].as_array().unwrap().iter().map(|reply| (reply, root)));
    }
    found.sort_unstable();
    found
}

/// Reads the page of `query` and all pages before and after it. Returns the places of all, and the number of pages.
async fn read_both_ways(client: &Client, path: &str, limit: usize, query: &str) -> (Vec<(i64, i64)>, usize) {
    let get = async |query: &str| {
        let page = client.get(&format!("{path}?limit={limit}{query}")).await.expect(200);
        assert!(page.to_string().len() <= MOST_BYTES, "{} bytes", page.to_string().len());
        let count = places(&page).len();
        assert!((1..=5 * limit).contains(&count), "{count} comments on a page of {limit}");
        page
    };
    let cursor = |page: &Value, name: &str| page[name].as_str().map(|cursor| format!("&cursor={cursor}"));
    let mut pages = VecDeque::from([get(query).await]);
    while let Some(next) = cursor(pages.back().unwrap(), "next_cursor") {
        pages.push_back(get(&next).await);
    }
    while let Some(previous) = cursor(pages.front().unwrap(), "previous_cursor") {
        pages.push_front(get(&previous).await);
        // The page before leads to the page after it again.
        let again = get(&cursor(&pages[0], "next_cursor").unwrap()).await;
        assert_eq!(places(&again)[0], places(&pages[1])[0]);
        assert_eq!(pages[0]["continues"], places(&again)[0].0 == places(&pages[0]).last().unwrap().0);
    }
    (pages.iter().flat_map(places).collect(), pages.len())
}

#[tokio::test]
async fn pages_lead_both_ways_from_any_comment() {
    let story = Story::new().await;
    let (ada, path) = (&story.ada, story.path());
    story.fill(3, None, "Alone").await;
    for replies in [1, 12, 0, 5, 7] {
        let root = ada.comment(&story.discussion, "A root").await;
        let reply = ada.reply(&root, "A reply").await;
        story.fill(replies, Some(&root), "Below the root").await;
        story.fill(replies, Some(&reply), "Below the reply").await;
    }
    story.fill(2, None, "Alone").await;
    for (limit, step) in [(1, 7), (2, 1), (3, 5), (100, 1)] {
        let (all, _) = read_both_ways(ada, &path, limit, "").await;
        assert_eq!(all.len(), 65);
        assert!(all.is_sorted_by(|a, b| a < b), "each comes once, in order");
        // All starts with pages of two, and some with others: each reads the whole discussion.
        for (_, id) in all.iter().step_by(step) {
            let around = format!("&around={id}");
            let page = ada.get(&format!("{path}?limit={limit}{around}")).await.expect(200);
            assert!(places(&page).iter().any(|(_, shown)| shown == id), "{id} is on its page of {limit}");
            let (found, pages) = read_both_ways(ada, &path, limit, &around).await;
            assert_eq!((found, pages > 1), (all.clone(), limit < 100), "around {id}, pages of {limit}");
        }
    }
    // A page around a comment is as large as another, and has the comment in its middle.
    let all = read_both_ways(ada, &path, 100, "").await.0;
    let page = ada.get(&format!("{path}?limit=4&around={}", all[30].1)).await.expect(200);
    let (before, after): (Vec<_>, Vec<_>) = places(&page).into_iter().partition(|place| *place < all[30]);
    assert_eq!((before.len(), after.len()), (9, 11));
}

#[tokio::test]
async fn long_comments_come_around_a_comment_in_pages_of_about_a_mebibyte() {
    let story = Story::new().await;
    let root = story.ada.comment(&story.discussion, "The root").await;
    story.fill(30, Some(&root), "文").await;
    story.fill(30, None, "é").await;
    let (all, _) = read_both_ways(&story.ada, &story.path(), 100, "").await;
    for place in [all[0], all[15], all[30], all[60]] {
        let (found, pages) = read_both_ways(&story.ada, &story.path(), 100, &format!("&around={}", place.1)).await;
        assert_eq!(found, all);
        assert!((8..=11).contains(&pages), "{pages} pages for 7.5 MB");
    }
}

#[tokio::test]
async fn a_page_around_a_comment_says_nothing_of_other_discussions() {
    let story = Story::new().await;
    let (app, ada, path) = (&story.app, &story.ada, story.path());
    let comment = ada.comment(&story.discussion, "Here").await;
    let hidden = app.community("hidden").await;
    let article = app.article(&[hidden]).await;
    let grace = app.member("grace", hidden).await;
    let secret = grace.discussion(article, hidden, "Secret").await;
    let elsewhere = grace.comment(&secret, "Elsewhere").await;

    for unknown in [elsewhere["id"].clone(), json!(0), json!(-1), json!(i64::MAX)] {
        ada.get(&format!("{path}?around={unknown}")).await.refused(404, "comment_not_found");
    }
    let secret = format!("/discussions/{}/comments", secret["id"]);
    for comment in [&elsewhere["id"], &comment["id"], &json!(0)] {
        ada.get(&format!("{secret}?around={comment}")).await.refused(404, "discussion_not_found");
    }
    grace.get(&format!("{secret}?around={}", elsewhere["id"])).await.expect(200);
    for bad in [format!("around={}&cursor=1", comment["id"]), "around=x".to_owned(), "around=".to_owned()] {
        ada.get(&format!("{path}?{bad}")).await.refused(400, "invalid_parameter");
    }
}

#[tokio::test]
async fn cursors_of_comments_are_checked_and_older_ones_stay_valid() {
    let story = Story::new().await;
    let (ada, path) = (&story.ada, story.path());
    let root = ada.comment(&story.discussion, "One").await;
    story.fill(7, Some(&root), "Reply").await;
    let other = ada.comment(&story.discussion, "Two").await;
    let page = ada.get(&format!("{path}?limit=1")).await.expect(200);
    assert_eq!(page["continues"], true);
    // The cursor of a release that always gave whole trees: the next page begins with the next root.
    let page = ada.get(&format!("{path}?limit=1&cursor={}", root["id"])).await.expect(200);
    assert_eq!((&page["comments"][0]["id"], &page["next_cursor"]), (&other["id"], &Value::Null));
    for cursor in [
        "-",
        "1-",
        "-1",
        "1-0",
        "2-1",
        "1-2-3",
        "1-x",
        "x-1",
        "1--2",
        "1-9223372036854775808",
        "1.5-2",
        "before-",
        "before-1-",
        "before-2-1",
        "before-before-1-2",
        "after-1-2",
    ] {
        ada.get(&format!("{path}?cursor={cursor}")).await.refused(400, "invalid_parameter");
    }
    // Numbers that no page gave lead nowhere, and to no other discussion.
    let max = i64::MAX;
    for cursor in [format!("{max}-{max}"), format!("{}-{max}", other["id"])] {
        let page = ada.get(&format!("{path}?cursor={cursor}")).await.expect(200);
        assert_eq!((&page["comments"], &page["next_cursor"]), (&json!([]), &Value::Null), "{cursor}");
    }
}

#[tokio::test]
async fn a_list_of_long_discussions_comes_in_pages_of_about_a_mebibyte() {
    let story = Story::new().await;
    let fill = format!(
        "insert into discussions (community_id, article_id, author_id, topic, text)
         select {}, {}, {}, 'Topic', repeat('é', 50000) from generate_series(1, 40)",
        story.community, story.article, story.ada.user
    );
    story.app.sql(&fill).await;
    let (mut ids, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let path = format!("/articles/{}/discussions?limit=100{cursor}", story.article);
        let page = story.ada.get(&path).await.expect(200);
        assert!(page.to_string().len() <= MOST_BYTES, "{} bytes", page.to_string().len());
        ids.extend(page["discussions"].as_array().unwrap().iter().map(|one| one["id"].as_i64().unwrap()));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((ids.len(), pages), (41, 4));
    assert!(ids.is_sorted_by(|newer, older| newer > older), "each comes once, newest first");
}
