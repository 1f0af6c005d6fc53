//! Mentions: whom a text names, what they are told, and that nothing links a name with a pseudonym.

use serde_json::{Value, json};

use crate::{
    app::{Client, TestDatabase, types},
    notifications::{Story, about, kinds, list},
    signals::Program,
};

/// The author in the form of others.
fn shown(client: &Client, name: &str) -> Value {
    json!({ "id": client.user, "username": name, "avatar_url": null })
}

/// The names that a discussion or comment mentions.
fn names(thing: &Value) -> Vec<&str> {
    thing["mentions"].as_array().unwrap().iter().map(|author| author["username"].as_str().unwrap()).collect()
}

impl Story {
    /// What everybody sees of a comment: by itself, in the page and in the event.
    async fn seen(&self, comment: &Value) -> Value {
        let alone = self.ada.get(&format!("/comments/{}", comment["id"])).await.expect(200);
        let page = self.ada.get(&format!("/discussions/{}/comments", comment["discussion_id"])).await.expect(200);
        let page = page["comments"].as_array().unwrap();
        let in_page = page.iter().find(|one| one["id"] == comment["id"]).unwrap();
        assert_eq!(in_page["mentions"], alone["mentions"]);
        alone
    }

    async fn pseudonymous(&self) {
        self.app.sql("update community_articles set is_pseudonymous = true").await;
    }
}

#[tokio::test]
async fn a_mention_is_stored_shown_and_told() {
    let story = Story::new("private").await;
    let Story { app, community, article, ada, grace, emmy, discussion, .. } = &story;
    app.settled().await;
    let mut queue = ada.register().await.with_notifications();
    let comment = grace.comment(discussion, "Ask @Emmy, @ada and `@emmy`, not @nobody").await;
    let expected = json!([shown(emmy, "emmy"), shown(ada, "ada")]);
    assert_eq!(comment["mentions"], expected);
    assert_eq!(story.seen(&comment).await["mentions"], expected);
    assert_eq!(
        kinds(ada).await,
        [about("mention", &comment)],
        "one notification for one text, and the mention goes first"
    );
    assert_eq!(kinds(emmy).await, [about("mention", &comment)]);
    app.settled().await;
    let events = queue.now().await;
    assert_eq!((types(&events), &events[0]["mentions"]), (vec!["new_comment", "new_notification"], &expected));
    assert_eq!(events[1]["kind"], "mention");

    let new = json!({ "community_id": community, "topic": "For @grace", "text": "@emmy knows\n\n> as @ada says\n\n    @grace" });
    let second = ada.post(&format!("/articles/{article}/discussions"), new).await.expect(201);
    assert_eq!(names(&second), ["emmy", "ada"], "the topic is no text, and oneself is mentioned too");
    assert_eq!(ada.get(&format!("/discussions/{}", second["id"])).await.expect(200), second);
    let page = ada.get(&format!("/articles/{article}/discussions")).await.expect(200);
    assert_eq!(page["discussions"][0], second);
    assert_eq!(kinds(emmy).await[0], about("mention", &second));
    assert_eq!(kinds(ada).await.len(), 1, "not for one's own doing");

    // A change of something else keeps the mentions, and tells them.
    let path = format!("/discussions/{}", second["id"]);
    let resolved = ada.patch(&path, json!({ "is_resolved": true, "topic": "Power" })).await.expect(200);
    assert_eq!(resolved["mentions"], second["mentions"]);
    // A rename reaches those who are only mentioned.
    app.sql(&format!("update users set username = 'noether' where id = {}", emmy.user)).await;
    app.settled().await;
    let events = queue.now().await;
    assert_eq!(types(&events), ["new_discussion", "updated_discussion", "author_changed"]);
    assert_eq!(events[1]["mentions"], second["mentions"]);
    assert_eq!(events[2]["author"], shown(emmy, "noether"));
    assert_eq!(names(&story.seen(&comment).await), ["noether", "ada"]);

    grace.delete(&format!("/comments/{}", comment["id"])).await.expect(204);
    assert_eq!(story.seen(&comment).await["mentions"], json!([]));
    ada.delete(&path).await.expect(204);
    assert_eq!(ada.get(&path).await.expect(200)["mentions"], json!([]));
    assert_eq!((list(emmy).await, list(ada).await), ((vec![], 0), (vec![], 0)));
}

#[tokio::test]
async fn an_edit_notifies_those_who_are_new_and_withdraws_from_those_who_are_gone() {
    let story = Story::new("public").await;
    let Story { app, ada, grace, emmy, discussion, .. } = &story;
    let katherine = app.member("katherine", story.community).await;
    let comment = grace.comment(discussion, "@emmy, look").await;
    let path = format!("/comments/{}", comment["id"]);
    let first = list(emmy).await;
    app.settled().await;
    let mut queue = emmy.register().await.with_notifications();
    let edited = grace.patch(&path, json!({ "text": "@emmy and @katherine, look" })).await.expect(200);
    assert_eq!(names(&edited), ["emmy", "katherine"]);
    assert_eq!(list(emmy).await.0[0]["id"], first.0[0]["id"], "she is not told again");
    assert_eq!(kinds(&katherine).await, [about("mention", &comment)]);
    grace.patch(&path, json!({ "text": "@katherine and @ada, look" })).await.expect(200);
    assert_eq!(list(emmy).await, (vec![], 0));
    assert_eq!(kinds(&katherine).await.len(), 1);
    assert_eq!(kinds(ada).await, [about("comment", &comment)], "she has one for this text already");
    grace.patch(&path, json!({ "text": "Look" })).await.expect(200);
    assert_eq!((kinds(&katherine).await.len(), kinds(ada).await.len()), (0, 1));
    app.settled().await;
    let expected = ["updated_comment", "updated_comment", "notifications_withdrawn", "updated_comment"];
    assert_eq!(types(&queue.now().await), expected);

    let of = format!("/discussions/{}", discussion["id"]);
    ada.patch(&of, json!({ "text": "@emmy?" })).await.expect(200);
    assert_eq!(kinds(emmy).await, [about("mention", discussion)]);
    ada.patch(&of, json!({ "topic": "Other" })).await.expect(200);
    assert_eq!(kinds(emmy).await.len(), 1);
    ada.patch(&of, json!({ "text": "Nobody?" })).await.expect(200);
    assert_eq!(kinds(emmy).await.len(), 0);
}

#[tokio::test]
async fn whom_a_text_concerns_anyway_keeps_the_notification_of_a_mention_that_is_gone() {
    let story = Story::new("private").await;
    let Story { app, community, article, ada, grace, emmy, discussion } = &story;
    app.sql(&format!("update articles set submitter_id = {}", emmy.user)).await;
    let admin = app.with_role("katherine", *community, "admin").await;
    let parent = grace.comment(discussion, "Nice").await;
    let reply = ada.reply(&parent, "Hello @grace and @emmy").await;
    let comment = emmy.comment(discussion, "@ada, look").await;
    let new = json!({ "community_id": community, "topic": "Power", "text": "@emmy, @katherine, @grace?" });
    let second = ada.post(&format!("/articles/{article}/discussions"), new).await.expect(201);
    let told = [(grace, &reply), (ada, &comment), (emmy, &second), (&admin, &second), (grace, &second), (emmy, &reply)];
    let mut before = Vec::new();
    for (client, text) in told {
        assert!(kinds(client).await.contains(&about("mention", text)));
        before.push(list(client).await.0);
    }
    let id = |page: &[Value]| page.iter().map(|one| one["id"].clone()).collect::<Vec<_>>();
    emmy.post("/notifications/read", json!({ "up_to_id": i64::MAX })).await.expect(204);

    app.settled().await;
    let mut queue = grace.register().await.with_notifications();
    ada.patch(&format!("/comments/{}", reply["id"]), json!({ "text": "Hello" })).await.expect(200);
    emmy.patch(&format!("/comments/{}", comment["id"]), json!({ "text": "Look" })).await.expect(200);
    app.settled().await;
    assert_eq!(types(&queue.now().await), ["updated_comment", "updated_comment"], "nothing is gone");
    ada.patch(&format!("/discussions/{}", second["id"]), json!({ "text": "Well?" })).await.expect(200);
    assert_eq!(kinds(grace).await, [about("reply", &reply)]);
    assert_eq!(kinds(ada).await, [about("comment", &comment), about("comment", &parent)]);
    assert_eq!(list(emmy).await.0.len(), 1, "that of the reply to somebody else is gone");
    assert_eq!(kinds(&admin).await, [about("discussion", &second)]);
    assert_eq!(id(&list(ada).await.0), id(&before[1]), "they are the same notifications");
    let emmys = list(emmy).await.0.remove(0);
    assert_eq!(
        (&emmys["kind"], &emmys["is_read"], &emmys["id"]),
        (&json!("discussion"), &json!(true), &before[2][0]["id"])
    );

    ada.delete(&format!("/comments/{}", reply["id"])).await.expect(204);
    ada.delete(&format!("/discussions/{}", second["id"])).await.expect(204);
    assert_eq!((list(grace).await, list(&admin).await, list(emmy).await), ((vec![], 0), (vec![], 0), (vec![], 0)));
}

#[tokio::test]
async fn an_edit_notifies_those_anew_who_have_read_what_they_were_notified_of() {
    let story = Story::new("private").await;
    let Story { app, ada, grace, emmy, discussion, .. } = &story;
    let comment = grace.comment(discussion, "Please check").await;
    let path = format!("/comments/{}", comment["id"]);
    let first = list(ada).await.0.remove(0);
    let read = json!({ "ids": [first["id"]] });
    ada.post("/notifications/read", read.clone()).await.expect(204);
    app.settled().await;
    let mut queue = ada.register().await.with_notifications();
    grace.patch(&path, json!({ "text": "Please check, @ada" })).await.expect(200);
    app.settled().await;
    let events = queue.now().await;
    assert_eq!(types(&events), ["updated_comment", "new_notification"]);
    let (page, unread) = list(ada).await;
    assert_eq!((kinds(ada).await, unread), (vec![about("mention", &comment)], 1), "it is in the place of the first");
    assert_ne!(page[0]["id"], first["id"]);
    assert_eq!((&events[1]["notification_id"], &events[1]["kind"]), (&page[0]["id"], &json!("mention")));
    // An edit that mentions her as before does not.
    ada.post("/notifications/read", json!({ "up_to_id": i64::MAX })).await.expect(204);
    grace.patch(&path, json!({ "text": "Please do check, @ada" })).await.expect(200);
    assert_eq!(list(ada).await.1, 0);
    grace.patch(&path, json!({ "text": "Please check" })).await.expect(200);
    assert_eq!(kinds(ada).await, [about("comment", &comment)]);
    // Whoever wants silence keeps what they have.
    app.sql(&format!("insert into discussion_follows values ({}, {}, 'mute')", ada.user, discussion["id"])).await;
    let kept = list(ada).await.0[0]["id"].clone();
    grace.patch(&path, json!({ "text": "@ada and @emmy" })).await.expect(200);
    let page = list(ada).await;
    assert_eq!((page.0.len(), &page.0[0]["id"], page.1), (1, &kept, 0));
    assert_eq!(kinds(emmy).await, [about("mention", &comment)]);
}

#[tokio::test]
async fn who_is_meant_by_a_handle() {
    let story = Story::new("private").await;
    let Story { app, community, grace, discussion, .. } = &story;
    for name in ["李明", "Lee", "lee.smith", "Jo", "jo", "twin", "twin", "Ångström", "ada@uni.edu"] {
        app.member(name, *community).await;
    }
    let outsider = app.user("outsider").await;
    let ended = app.member("ended", *community).await;
    app.sql(&format!("update users set is_active = false where id = {}", ended.user)).await;
    for (text, expected) in [
        ("@lee", &["Lee"][..]),
        ("@LEE.SMITH.", &["lee.smith"]),
        ("@lee.jones", &["Lee"]),
        ("@leeward", &[]),
        ("@jo", &["jo"]),
        ("@Jo", &["Jo"]),
        ("@JO", &[]),
        ("@twin", &[]),
        ("@Ångström!", &["Ångström"]),
        ("@A\u{30a}ngstro\u{308}m", &["Ångström"]),
        ("@lee\u{301}", &[]),
        ("请@李明看@Lee谢谢", &["李明", "Lee"]),
        ("@ada@uni.edu", &["ada@uni.edu"]),
        ("@ada@uni.org", &["ada"]),
        ("mail ada@uni.edu", &[]),
        ("@outsider @ended @nobody", &[]),
        ("@grace @grace @Grace", &["grace"]),
    ] {
        assert_eq!(names(&grace.comment(discussion, text).await), expected, "{text}");
    }
    assert_eq!(list(&app.client(outsider)).await, (vec![], 0));
    app.sql(&format!(
        "with u as (insert into users (username) select 'many' || n from generate_series(1, 40) n returning id)
         insert into memberships (user_id, community_id, role) select id, {community}, 'member' from u"
    ))
    .await;
    let all: String = (1..=40).map(|number| format!("@many{number} ")).collect();
    let comment = grace.comment(discussion, &all).await;
    assert_eq!(names(&comment).len(), 20);
    assert_eq!((names(&comment)[0], names(&comment)[19]), ("many1", "many20"));
}

#[tokio::test]
async fn the_name_of_somebody_else_does_not_mean_who_has_the_beginning_of_it() {
    let story = Story::new("private").await;
    let Story { app, community, ada, grace, emmy, discussion, .. } = &story;
    let left = app.member("ada.lovelace", *community).await;
    app.leave(left.user, *community).await;
    let ended = app.member("ada-ended", *community).await;
    app.sql(&format!("update users set is_active = false where id = {}", ended.user)).await;
    for name in ["ada.b", "ada_", "ada.", "Emmy"] {
        app.user(name).await;
    }
    for (text, expected) in [
        ("@ada.lovelace", &[][..]),
        ("@ADA.Lovelace, please", &[]),
        ("@ada.lovelace.x", &[]),
        ("@ada-ended", &[]),
        ("@ada.b", &[]),
        ("@ada_", &[]),
        ("@grace_ada", &[]),
        ("@ada+emmy", &[]),
        ("@ada.unknown", &["ada"]),
        // The mark is that of the sentence.
        ("Ask @ada.", &["ada"]),
        // The same name in other letters hides nobody.
        ("@Emmy", &["emmy"]),
    ] {
        assert_eq!(names(&grace.comment(discussion, text).await), expected, "{text}");
    }
    assert_eq!(list(&app.client(left.user)).await, (vec![], 0));
    app.join(left.user, *community, "member").await;
    assert_eq!(names(&grace.comment(discussion, "@ada.lovelace").await), ["ada.lovelace"]);

    // A name changes nothing about a pseudonym, be it that of a member or not.
    story.pseudonymous().await;
    let hers = emmy.comment(discussion, "Under a pseudonym").await["author"].clone();
    let handle = hers["username"].as_str().unwrap().replace(' ', "-");
    for (member, name) in [(false, format!("{handle}-x")), (true, format!("{handle}.")), (true, format!("{handle}.y"))]
    {
        match member {
            true => drop(app.member(&name, *community).await),
            false => drop(app.user(&name).await),
        }
        let comment = ada.comment(discussion, &format!("@{name}")).await;
        assert_eq!(comment["mentions"], json!([hers]), "{name}");
    }
}

#[tokio::test]
async fn a_pseudonym_is_mentioned_by_its_handle_and_stays_one() {
    let story = Story::new("public").await;
    let Story { app, community, ada, grace, emmy, discussion, .. } = &story;
    story.pseudonymous().await;
    let hers = emmy.comment(discussion, "Under a pseudonym").await;
    let pseudonym = hers["author"]["username"].as_str().unwrap();
    let handle = pseudonym.replace(' ', "-");
    let comment = grace.comment(discussion, &format!("@{} is right, @ada", handle.to_lowercase())).await;
    assert_eq!(comment["mentions"], json!([shown(ada, "ada"), hers["author"]]));
    assert_eq!(story.seen(&comment).await["mentions"], comment["mentions"]);
    assert_eq!(kinds(emmy).await, [about("mention", &comment)]);
    let grace_as = &comment["author"];
    assert_eq!(list(emmy).await.0[0]["actor"], *grace_as);

    // Elsewhere the handle is plain text. Here it is the pseudonym, whoever takes it for a name.
    let other = app.article(&[*community]).await;
    let elsewhere = grace.discussion(other, *community, "Elsewhere").await;
    assert_eq!(names(&grace.comment(&elsewhere, &format!("@{handle}")).await), Vec::<&str>::new());
    let taker = app.member(&handle, *community).await;
    let again = grace.comment(discussion, &format!("@{handle}")).await;
    assert_eq!(again["mentions"], json!([hers["author"]]));
    assert_eq!(list(&taker).await, (vec![], 0));
    // It means the same when she has left, and she is not told.
    app.leave(emmy.user, *community).await;
    assert_eq!(grace.comment(discussion, &format!("@{handle}")).await["mentions"], json!([hers["author"]]));
    app.join(emmy.user, *community, "member").await;
    assert_eq!(kinds(emmy).await.len(), 2);
    // An event of a rename says nothing of the pseudonym.
    app.settled().await;
    let mut queue = grace.register().await;
    app.sql(&format!("update users set username = 'noether' where id = {}", emmy.user)).await;
    app.settled().await;
    assert_eq!(types(&queue.now().await), Vec::<&str>::new());
}

/// What others can see of a text that mentions a name and a pseudonym: the answer, the events with their distances, and what remains
/// when the text is changed and deleted. Ids and times are left out.
async fn observed(story: &Story, writer: &Client, watcher: &Client, name: &str, pseudonym: &Value) -> Value {
    let Story { app, discussion, .. } = story;
    let mut queue = watcher.register().await;
    queue.cursor = app.settled().await;
    let start = queue.cursor;
    let handle = pseudonym["username"].as_str().unwrap().replace(' ', "-");
    let texts =
        [format!("@{name} @{handle}"), format!("@{handle} alone"), format!("@{name} alone"), "Nobody".to_owned()];
    let comment = writer.comment(discussion, &texts[0]).await;
    let path = format!("/comments/{}", comment["id"]);
    let mut answers = vec![comment["mentions"].clone()];
    for text in texts[1..].iter().chain(&texts[..1]) {
        answers.push(writer.patch(&path, json!({ "text": text })).await.expect(200)["mentions"].clone());
    }
    writer.delete(&path).await.expect(204);
    let last = writer.comment(discussion, "The end").await;
    app.settled().await;
    let events = queue.now().await;
    let seen: Vec<Value> = events
        .iter()
        .map(|event| json!([event["event_id"].as_i64().unwrap() - start, event["type"], event["mentions"]]))
        .collect();
    writer.delete(&format!("/comments/{}", last["id"])).await.expect(204);
    let text = json!([answers, seen]).to_string();
    // Names differ from case to case, and everything else must not.
    let text =
        text.replace(pseudonym["username"].as_str().unwrap(), "PSEUDONYM").replace(&format!("\"{name}\""), "NAME");
    serde_json::from_str::<Value>(&text.replace("NAME", "\"NAME\"")).unwrap()
}

#[tokio::test]
async fn nothing_tells_whether_a_name_and_a_pseudonym_are_one_person() {
    let story = Story::new("private").await;
    let Story { app, community, ada, grace, emmy, discussion, .. } = &story;
    story.pseudonymous().await;
    let watcher = app.member("watcher", *community).await;
    let quiet = app.member("quiet", *community).await;
    let mut pseudonyms = Vec::new();
    for client in [grace, emmy, ada] {
        pseudonyms.push(client.comment(discussion, "Here I am").await["author"].clone());
    }
    let [graces, emmys] = [&pseudonyms[0], &pseudonyms[1]];
    let mut seen = Vec::new();
    for (case, writer, name, pseudonym, change) in [
        ("two people", ada, "emmy", graces, ""),
        ("one person", ada, "emmy", emmys, ""),
        ("somebody without a pseudonym", ada, "quiet", emmys, ""),
        ("the writer by name", grace, "grace", emmys, ""),
        ("the writer by pseudonym", grace, "emmy", graces, ""),
        ("the writer by both", grace, "grace", graces, ""),
        (
            "somebody who has left",
            ada,
            "quiet",
            emmys,
            "delete from memberships where user_id = (select id from users where username = 'emmy')",
        ),
        (
            "somebody who wants silence",
            ada,
            "quiet",
            graces,
            "insert into discussion_follows select u.id, d.id, 'mute' from users u, discussions d where u.username in ('quiet', 'grace')",
        ),
    ] {
        app.sql(change).await;
        let mut one = observed(&story, writer, &watcher, name, pseudonym).await.to_string();
        for client in [ada, grace, emmy, &quiet] {
            one = one.replace(&format!("\"id\":{},", client.user), "\"id\":0,");
        }
        seen.push((case, one));
    }
    for (case, one) in &seen {
        assert_eq!(*one, seen[0].1, "{case}");
    }
}

#[tokio::test]
async fn nothing_tells_whether_the_text_concerns_somebody_who_is_mentioned() {
    let story = Story::new("private").await;
    let Story { app, community, article, ada, grace, emmy, discussion } = &story;
    story.pseudonymous().await;
    let watcher = app.member("watcher", *community).await;
    let mut handles = Vec::new();
    for client in [grace, emmy] {
        let author = client.comment(discussion, "Here I am").await["author"].clone();
        handles.push(author["username"].as_str().unwrap().replace(' ', "-"));
    }
    let [graces, emmys] = [&handles[0], &handles[1]];
    ada.comment(discussion, "Here I am").await;
    let mut patterns = Vec::new();
    for (by, name, handle, is_read) in [
        (grace, "watcher", emmys, false),
        (grace, "grace", emmys, false),
        (grace, "emmy", graces, false),
        (grace, "grace", graces, false),
        (grace, "emmy", emmys, false),
        (emmy, "grace", graces, true),
        (emmy, "watcher", emmys, true),
        (emmy, "emmy", graces, true),
        (emmy, "emmy", emmys, true),
    ] {
        let begun = by.discussion(*article, *community, "Topic").await;
        let parent = by.comment(&begun, "Comment").await;
        let mut queue = watcher.register().await;
        let mut start = app.settled().await;
        queue.cursor = start;
        let texts = ["Nobody", "@NAME", "@NAME @HANDLE", "@HANDLE", "Nobody at all", "@HANDLE @NAME", "Not one"];
        let text = |text: &str| text.replace("NAME", name).replace("HANDLE", handle);
        let reply = ada.reply(&parent, &text("@HANDLE, @NAME")).await;
        let mut pattern = Vec::new();
        for change in texts.into_iter().map(Some).chain([None]) {
            let path = format!("/comments/{}", reply["id"]);
            match change {
                Some(change) => drop(ada.patch(&path, json!({ "text": text(change) })).await.expect(200)),
                None => drop(ada.delete(&path).await.expect(204)),
            }
            // What comes last shows how many numbers there were before.
            let last = ada.discussion(*article, *community, "Last").await;
            app.settled().await;
            let events = queue.now().await;
            let numbers = events.iter().map(|event| event["event_id"].as_i64().unwrap() - start);
            pattern.push((numbers.collect::<Vec<_>>(), types(&events).join(" ")));
            ada.delete(&format!("/discussions/{}", last["id"])).await.expect(204);
            if is_read {
                for client in [grace, emmy, &watcher] {
                    client.post("/notifications/read", json!({ "up_to_id": i64::MAX })).await.expect(204);
                }
            }
            start = app.settled().await;
            queue.cursor = start;
        }
        patterns.push(((by.user, name, handle, is_read), pattern));
    }
    for (case, pattern) in &patterns {
        assert_eq!(*pattern, patterns[0].1, "{case:?}");
    }
}

#[tokio::test]
async fn completion_lists_handles_and_on_a_pseudonymous_article_no_names() {
    let story = Story::new("hidden").await;
    let Story { app, community, article, ada, emmy, discussion, .. } = &story;
    for name in ["Adele", "with space", "ad_100%", "zoe", "noël"] {
        app.member(name, *community).await;
    }
    app.user("adam").await;
    let ended = app.member("adrian", *community).await;
    app.sql(&format!("update users set is_active = false where id = {}", ended.user)).await;
    let handles = async |client: &Client, query: &str| {
        let answer = client.get(&format!("/communities/{community}/members?{query}")).await.expect(200);
        let members = answer["members"].as_array().unwrap().clone();
        let handles: Vec<String> = members.iter().map(|one| one["handle"].as_str().unwrap().to_owned()).collect();
        (handles, members)
    };
    assert_eq!(handles(ada, "prefix=AD").await.0, ["ada", "Adele"]);
    assert_eq!(handles(ada, "prefix=ad%25").await.0, Vec::<String>::new());
    assert_eq!(handles(ada, "prefix=e").await.1, [json!({ "author": shown(emmy, "emmy"), "handle": "emmy" })]);
    assert_eq!(
        handles(ada, &format!("article_id={article}")).await.0,
        ["ada", "Adele", "emmy", "grace", "noël", "zoe"]
    );
    assert_eq!(handles(ada, "prefix=noe%CC%88").await.0, ["noël"], "however it was typed");

    story.pseudonymous().await;
    let pseudonym = emmy.comment(discussion, "Here I am").await["author"].clone();
    let handle = pseudonym["username"].as_str().unwrap().replace(' ', "-");
    let expected = [json!({ "author": pseudonym, "handle": handle })];
    for prefix in ["", &handle[..3].to_uppercase(), &handle] {
        let listed = handles(ada, &format!("article_id={article}&prefix={prefix}")).await;
        assert_eq!(listed.1, expected);
        assert_eq!(handles(emmy, &format!("article_id={article}&prefix={prefix}")).await.1, expected, "her own too");
    }
    assert_eq!(handles(ada, &format!("article_id={article}&prefix=emmy")).await.0, Vec::<String>::new());
    app.leave(emmy.user, *community).await;
    assert_eq!(handles(ada, &format!("article_id={article}")).await.1, expected, "it does not tell that she has left");

    let outsider = app.client(app.user("outsider").await);
    let path = format!("/communities/{community}/members");
    outsider.get(&path).await.refused(404, "community_not_found");
    ada.get(&format!("{path}?article_id=999")).await.refused(404, "article_not_found");
    // In a large community it is the index of handles that finds them.
    app.sql(&format!(
        "with u as (insert into users (username) select 'Many' || n from generate_series(1, 1200) n returning id)
         insert into memberships (user_id, community_id, role) select id, {community}, 'member' from u;
         analyze users; analyze memberships"
    ))
    .await;
    let many = handles(ada, "prefix=mANY11").await.0;
    assert_eq!((many.len(), many[0].as_str(), many[19].as_str()), (20, "Many11", "Many1116"));
    assert_eq!(handles(ada, "prefix=AD").await.0, ["ada", "Adele"]);
    let article = app.article(&[*community]).await;
    assert_eq!(handles(ada, &format!("article_id={article}&prefix=zo")).await.0, ["zoe"]);
}

#[tokio::test]
async fn every_handle_that_completion_lists_can_be_mentioned() {
    let story = Story::new("private").await;
    let Story { app, community, ada, discussion, .. } = &story;
    let listed = ["_under", ".dot", "-dash", "+plus", "_.@x", "a@b.c", "a_", "b.", "1", "李明", "Ångström"];
    for name in listed.iter().chain(&["@at", "__", "...", "a b", "a/b"]) {
        app.member(name, *community).await;
    }
    let answer = ada.get(&format!("/communities/{community}/members")).await.expect(200);
    let handles: Vec<_> =
        answer["members"].as_array().unwrap().iter().map(|one| one["handle"].as_str().unwrap()).collect();
    assert_eq!(handles.len(), listed.len() + 3, "{handles:?}");
    for handle in handles {
        assert_eq!(names(&ada.comment(discussion, &format!("Ask @{handle}")).await), [handle]);
    }
}

#[tokio::test]
async fn the_start_warns_of_a_locale_without_most_letters() {
    let database = TestDatabase::create_with("template template0 lc_collate 'C' lc_ctype 'C'").await;
    let line = Program::start(&database.url).says("the database's locale knows no letters but those of ASCII");
    assert_eq!(line["level"], "WARN");
}

#[tokio::test]
async fn a_rename_comes_after_the_events_that_show_the_name() {
    let story = Story::new("private").await;
    let Story { app, ada, grace, emmy, discussion, .. } = &story;
    app.settled().await;
    let mut queue = ada.register().await;
    let mut renaming = app.pool.begin().await.unwrap();
    let rename = sqlx::query("update users set username = 'noether' where id = $1").bind(emmy.user);
    rename.execute(&mut *renaming).await.unwrap();
    let (client, discussion) = (grace.clone(), discussion.clone());
    let writing = tokio::spawn(async move { client.comment(&discussion, "@emmy and @noether").await });
    let waits =
        "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database())";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&app.pool).await.unwrap() {
        tokio::task::yield_now().await;
    }
    renaming.commit().await.unwrap();
    let comment = writing.await.unwrap();
    assert_ne!(names(&comment), ["emmy"], "the old name is nobody's any more");
    app.settled().await;
    let events = queue.now().await;
    assert_eq!(types(&events), ["new_comment"], "a name that nobody saw is no event");
    assert_eq!(events[0]["mentions"], comment["mentions"]);
    assert_eq!(story.seen(&comment).await["mentions"], comment["mentions"]);
}
