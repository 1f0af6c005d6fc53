//! Imports that are repeated: after nothing, after changes on both sides, beside a live server, and after kills.

use std::{process::Stdio, sync::Arc, time::Duration};

use rand::Rng;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::{
    app::{PATIENCE, TestDatabase, types},
    django::{Move, django_client},
};

#[tokio::test]
async fn a_second_import_changes_nothing() {
    let site = Move::small().await;
    let first = site.import().await;
    let before = site.content().await;
    let second = site.import().await;
    for ((table, before), (_, after)) in before.into_iter().zip(site.content().await) {
        assert_eq!(before, after, "{table}");
    }
    assert_eq!(first.report["repairs"], second.report["repairs"]);
    assert_eq!(first.report["refusals"], second.report["refusals"]);
    assert_eq!(second.report["kinds"]["comments"]["changed"], 0);
}

#[tokio::test]
async fn a_later_import_brings_what_changed_and_leaves_what_was_changed_here() {
    let site = Move::small().await;
    site.import().await;
    let app = site.serve().await;
    // Changed here: a text, a vote, what was read.
    let (amber, cedar) = (django_client(&app, 1), django_client(&app, 3));
    amber.patch("/discussions/1", json!({ "text": "What does figure 3 show?" })).await.expect(200);
    cedar.put("/comments/7/vote", json!({ "value": 1 })).await.expect(200);
    cedar.post("/discussions/1/read", json!({ "comment_ids": [3] })).await;
    app.settled().await;
    let database = app.stop().await;
    // Changed at Django.
    site.django(
        "update articles_discussion set content = 'Is the control too small?', updated_at = '2025-08-01 08:00Z' where id = 2;
         insert into articles_discussioncomment (id, content, created_at, updated_at, author_id, discussion_id, parent_id, community_id)
         values (30, 'A new one.', '2025-08-02 08:00Z', '2025-08-02 08:00Z', 1, 1, 3, 1), (31, 'Another new one.', '2025-08-02 09:00Z', '2025-08-02 09:00Z', 1, 1, null, 1);
         update articles_discussioncomment set is_deleted = true, updated_at = '2025-08-03 08:00Z' where id = 18;
         update articles_discussioncomment set parent_id = null where id = 2;
         insert into articles_userflag (id, flag_type, entity_type, entity_id, created_at, user_id) values (30, 'unread', 'comment', 31, '2025-08-02 09:00Z', 3);
         delete from articles_userflag where id = 4;
         update articles_reaction set vote = -1 where id = 2;
         delete from articles_reaction where id = 10;
         update articles_discussionsubscription set is_active = false where id = 2;
         update articles_discussionsummary set content = 'It is the baseline.', created_by_id = null, last_updated_by_id = null, updated_at = '2025-08-04 08:00Z' where id = 1;
         update \"user\" set username = 'ash' where id = 4;
         insert into communities_membership (id, joined_at, community_id, user_id) values (30, '2025-08-01 08:00Z', 1, 7);
         delete from communities_membership where id = 11;
         delete from communities_community_admins where id = 3;
         update communities_community set type = 'private' where id = 1",
    )
    .await;
    let imported = site.import().await;
    assert!(imported.report["leapt_to"].as_i64().is_some(), "clients may have cursors from before");

    let app = site.serve().await;
    let (amber, birch, cedar, ash) =
        (django_client(&app, 1), django_client(&app, 2), django_client(&app, 3), django_client(&app, 4));
    let first = cedar.get("/discussions/1").await.expect(200);
    assert_eq!(first["text"], "What does figure 3 show?", "it was changed here, and not there");
    assert_eq!((&first["comment_count"], &first["upvotes"]), (&json!(15), &json!(1)));
    assert_eq!(
        (&first["unread_count"], &first["first_unread_comment_id"]),
        (&json!(1), &json!(31)),
        "3 was read here, 18 is deleted"
    );
    assert_eq!(birch.get("/discussions/2").await.expect(200)["text"], "Is the control too small?");
    let comment = amber.get("/comments/7").await.expect(200);
    assert_eq!((&comment["upvotes"], &amber.get("/comments/1").await.expect(200)["own_vote"]), (&json!(1), &json!(-1)));
    // What hangs below a comment that was moved is moved with it. What is not too deep any more quotes nobody.
    let places = "select json_agg(json_build_array(id, root_id, parent_id, depth) order by id) from comments where id in (2, 3, 4, 5, 30)";
    assert_eq!(
        site.value(places).await,
        json!([[2, 2, null, 1], [3, 2, 2, 2], [4, 2, 3, 3], [5, 2, 3, 3], [30, 2, 3, 3]])
    );
    let moved = amber.get("/comments/4").await.expect(200);
    assert_eq!((&moved["text"], &moved["edited_at"]), (&json!("Thank you."), &json!(null)), "nobody has edited it");
    assert_eq!(amber.get("/comments/5").await.expect(200)["text"], "> cedar wrote: Thank you.\n\nYou are welcome.");
    assert_eq!(ash.get("/discussions/1").await.expect(200)["unread_count"], 0, "Django says that it was read");
    assert_eq!(ash.get("/session").await.expect(200)["user"]["username"], "ash");
    let summary = birch.get("/articles/1/summary/revisions?community_id=1").await.expect(200);
    assert_eq!(summary["revisions"][1]["text"], "The drift is that of the baseline.");
    // Nobody knows who wrote the newer one.
    assert_eq!(
        (&summary["revisions"][0]["author"], &summary["revisions"][1]["author"]["id"]),
        (&json!(null), &json!(2))
    );
    // The one who was moderator without a membership has one now.
    let roles = "select json_agg(json_build_array(user_id, community_id, role) order by user_id, community_id) from memberships where user_id in (6, 7)";
    assert_eq!(site.value(roles).await, json!([[7, 1, "moderator"], [7, 2, "member"]]));
    assert_eq!(site.value("select count(*) from article_follows where user_id = 5").await, 0);
    app.anonymous().get("/discussions/1").await.refused(401, "token_missing");
    app.settled().await;
    drop((app, database));
}

#[tokio::test]
async fn an_import_without_the_address_of_pictures_keeps_it() {
    let site = Move::small().await;
    site.django("update \"user\" set profile_pic_url = 'pictures/amber.png' where id = 1").await;
    let picture = async || site.value("select avatar_url from users where id = 1").await;
    assert!(site.run(&["--media-url", "https://media.example.org/"]).await.is_finished);
    assert_eq!(picture().await, "https://media.example.org/pictures/amber.png");
    let app = site.serve().await;
    django_client(&app, 1).patch("/discussions/1", json!({ "text": "An event" })).await.expect(200);
    app.settled().await;
    drop(app.stop().await);

    let without = site.import().await;
    assert_eq!(picture().await, "https://media.example.org/pictures/amber.png");
    assert!(without.report["leapt_to"].is_null());
    let with_another = site.run(&["--media-url", "https://pictures.example.org/"]).await;
    assert!(with_another.is_finished, "{}", with_another.errors);
    assert_eq!(picture().await, "https://pictures.example.org/pictures/amber.png");
    assert!(with_another.report["leapt_to"].as_i64().is_some(), "pages show the old address");
}

#[tokio::test]
async fn beside_a_live_server_clients_catch_up_once() {
    let site = Move::small().await;
    site.import().await;
    let app = site.serve().await;
    app.settled().await;
    let (amber, fern) = (django_client(&app, 1), django_client(&app, 6));
    let (mut queue, left) = (amber.register().await, fern.register().await);
    let parked = left.park(&app).await;
    site.django(
        "update articles_discussion set topic = 'A better topic' where id = 1;
         insert into communities_membership (id, joined_at, community_id, user_id) values (40, now(), 2, 6);
         delete from communities_membership where id = 11; delete from communities_community_admins where id = 3",
    )
    .await;
    let imported = site.import().await;
    assert_eq!(imported.report["leapt_to"], site.value("select base from event_head").await);
    // Whoever has lost a membership hears of it, and nothing else is an event.
    let events = site
        .value("select json_agg(json_build_array(type, user_id)) from outbox where type not like 'community_kind'")
        .await;
    assert_eq!(events, json!([["membership_changed", 6]]));
    let answer = parked.await.unwrap().expect(200);
    assert!(
        answer["catchup_required"] == true || types(answer["events"].as_array().unwrap()) == ["membership_changed"],
        "{answer}"
    );
    let caught_up = async {
        loop {
            let answer = queue.poll_raw(1.0).await.expect(200);
            if answer["catchup_required"] == true {
                break;
            }
            queue.cursor = answer["last_event_id"].as_i64().unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, caught_up).await.expect("clients are told to load their pages again");
    assert_eq!(amber.get("/discussions/1").await.expect(200)["topic"], "A better topic");
    fern.get("/discussions/3").await.refused(404, "discussion_not_found");
    fern.get("/discussions/2").await.expect(200);
    // Nothing has changed since, so nobody is told anything.
    assert!(site.import().await.report["leapt_to"].is_null());
    app.settled().await;
}

/// Waits until the session of a process that was killed has ended.
async fn is_unlocked(site: &Move) {
    let mut connection = PgConnection::connect(&site.target.url).await.unwrap();
    let unlocked = async {
        let held = "select exists (select from pg_locks l join pg_database d on d.oid = l.database
                    where d.datname = current_database() and l.locktype = 'advisory')";
        while sqlx::query_scalar::<_, bool>(held).fetch_one(&mut connection).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, unlocked).await.expect("the session ends");
}

#[tokio::test]
async fn an_import_that_is_killed_ten_times_ends_in_the_same_database() {
    let sql = [include_str!("django/source.sql"), include_str!("django/large.sql")].concat();
    let mut site = Move::of(&sql).await;
    let small_batches = ["--batch-size", "40"];
    let begun = std::time::Instant::now();
    assert!(site.run(&small_batches).await.is_finished);
    let (usual, expected) = (begun.elapsed(), site.content().await);
    let mut kills = 0;
    while kills < 10 {
        // A new database, until an import into it ends before it is killed.
        site.target = Arc::new(TestDatabase::create().await);
        loop {
            let mut import = site
                .command(&small_batches)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            // The moment is what this is about, so it is by chance.
            let moment = usual.mul_f64(rand::rng().random_range(0.02..0.4));
            match tokio::time::timeout(moment, import.wait()).await {
                Ok(ended) => {
                    assert!(ended.unwrap().success());
                    break;
                }
                Err(_) if kills < 10 => {
                    import.kill().await.unwrap();
                    kills += 1;
                    is_unlocked(&site).await;
                }
                Err(_) => {
                    assert!(import.wait().await.unwrap().success());
                    break;
                }
            }
        }
        for ((table, expected), (_, found)) in expected.iter().zip(site.content().await) {
            assert!(*expected == found, "{table} differs after {kills} kills");
        }
    }
}

#[tokio::test]
async fn what_vanishes_with_a_person_or_a_place_stays() {
    let site = Move::small().await;
    site.import().await;
    let live = "select json_build_array(
        (select json_agg(json_build_array(id, text) order by id) from discussions where deleted_at is null),
        (select json_agg(json_build_array(id, text) order by id) from comments where deleted_at is null),
        (select json_agg(json_build_array(article_id, text) order by article_id) from summaries where text is not null))";
    let before = site.value(live).await;
    site.django(
        "delete from articles_discussioncomment where discussion_id in (select id from articles_discussion where community_id = 2) or id = 13;
         delete from articles_discussionsubscription where community_id = 2;
         delete from articles_discussionsummary where community_article_id in (2, 4);
         delete from articles_anonymousidentity where community_id = 2;
         delete from articles_discussion where community_id = 2;
         delete from communities_membership where community_id = 2;
         delete from communities_community_admins where community_id = 2;
         delete from communities_community_reviewers where community_id = 2;
         delete from communities_communityarticle where community_id = 2;
         delete from communities_community where id = 2;
         delete from articles_discussioncomment where id in (1, 2, 3, 4, 5)",
    )
    .await;
    site.import().await;
    assert_eq!(site.value(live).await, before, "Django does not write, so nothing is deleted");
    assert_eq!(site.value("select count(*) from communities where removed_at is not null").await, 1);
    site.import().await;
    assert_eq!(site.value(live).await, before);
}

#[tokio::test]
async fn a_made_pseudonym_becomes_that_of_django() {
    let site = Move::small().await;
    site.import().await;
    site.django(
        "insert into articles_anonymousidentity (id, fake_name, article_id, user_id, community_id) values (40, 'Brisk_Newt', 4, 7, 2)",
    )
    .await;
    let imported = site.import().await;
    let refused = imported.report["refusals"].to_string();
    assert!(
        !refused.contains(r#""kind":"pseudonyms","id":40"#) && !refused.contains(r#""id":40,"kind":"pseudonyms""#),
        "{refused}"
    );
    assert!(!imported.report["repairs"].to_string().contains("pseudonym_made"));
    let app = site.serve().await;
    let shown = django_client(&app, 1).get("/discussions/13").await.expect(200);
    assert_eq!(shown["author"], json!({ "id": null, "username": "Brisk_Newt", "avatar_url": null }));
    app.settled().await;
}

/// What a user has not read: whether discussion 15, and the comments of discussion 1.
async fn unread(site: &Move, user: i64) -> serde_json::Value {
    let sql = "select json_build_array(
            exists (select from discussions d join memberships m on m.community_id = d.community_id and m.user_id = {user}
                    left join read_states r on r.discussion_id = d.id and r.user_id = {user}
                    where d.id = 15 and is_unread(d.author_id, d.created_at, d.deleted_at, {user}, m.created_at) and r.is_read is not true),
            (select json_agg(k.id order by k.id)
             from comments k join discussions d on d.id = k.discussion_id
             join memberships m on m.community_id = d.community_id and m.user_id = {user}
             left join read_states r on r.discussion_id = d.id and r.user_id = {user}
             where d.id = 1 and is_unread(k.author_id, k.created_at, k.deleted_at, {user}, m.created_at)
               and (k.id <@ r.comments) is not true))";
    site.value(&sql.replace("{user}", &user.to_string())).await
}

#[tokio::test]
async fn what_is_marked_as_unread_at_django_is_unread_here() {
    let site = Move::small().await;
    site.import().await;
    assert_eq!(unread(&site, 3).await, json!([true, [3, 18]]));
    site.django("delete from articles_userflag where id in (1, 2)").await;
    site.import().await;
    assert_eq!(unread(&site, 3).await, json!([false, [18]]));
    site.django(
        "insert into articles_userflag (id, flag_type, entity_type, entity_id, created_at, user_id)
         values (40, 'unread', 'discussion', 15, now(), 3), (41, 'unread', 'comment', 3, now(), 3)",
    )
    .await;
    site.import().await;
    assert_eq!(unread(&site, 3).await, json!([true, [3, 18]]));
    // What is read here stays so, until Django says something newer of it. That may be in another row, or of something older.
    let app = site.serve().await;
    let cedar = django_client(&app, 3);
    cedar.post("/discussions/1/read", json!({ "comment_ids": [3, 18] })).await;
    cedar.post("/discussions/15/read", json!({ "discussion": true })).await;
    app.settled().await;
    drop(app.stop().await);
    site.import().await;
    assert_eq!(unread(&site, 3).await, json!([false, null]));
    site.django(
        "delete from articles_userflag where id = 41;
         insert into articles_userflag (id, flag_type, entity_type, entity_id, created_at, user_id)
         values (42, 'unread', 'comment', 3, now(), 3), (43, 'unread', 'comment', 1, now(), 3)",
    )
    .await;
    site.import().await;
    assert_eq!(unread(&site, 3).await, json!([false, [1, 3]]));
    let app = site.serve().await;
    assert_eq!(django_client(&app, 3).get("/discussions/1").await.expect(200)["unread_count"], 2, "it is counted anew");
    app.settled().await;
}

#[tokio::test]
async fn quotes_have_the_name_of_today() {
    let site = Move::small().await;
    site.import().await;
    let text = "select text from comments where id = 4";
    assert_eq!(site.value(text).await, "> birch wrote: The one of the baseline.\n\nThank you.");
    site.django("update \"user\" set username = 'ash' where id = 2").await;
    // An edit here has mentioned somebody.
    site.here("update comments set mentioned_users = '{1}' where id = 4").await;
    site.import().await;
    assert_eq!(site.value(text).await, "> ash wrote: The one of the baseline.\n\nThank you.");
    assert_eq!(site.value("select to_json(mentioned_users) from comments where id = 4").await, json!([1]));
    // Of who is deleted at Django the texts stay, and the name goes. Copies of the database may not have Django's constraints.
    site.django("set session_replication_role = replica; delete from \"user\" where id = 2").await;
    site.import().await;
    assert_eq!(site.value(text).await, "> deleted-2 wrote: The one of the baseline.\n\nThank you.");
    // A quote is of nothing that was deleted here.
    site.here("update comments set text = '', deleted_at = now() where id = 3; select django.quote_anew(array[3])")
        .await;
    assert_eq!(site.value(text).await, "> *In reply to a deleted comment.*\n\nThank you.");
    let told = "select payload ->> 'text' from outbox where type = 'updated_comment' and payload ->> 'comment_id' = '4' order by id desc limit 1";
    assert_eq!(site.value(told).await, site.value(text).await, "everybody hears of it");
}

#[tokio::test]
async fn the_mirror_forgets_who_is_deleted_at_django() {
    let site = Move::small().await;
    site.import().await;
    let birch = "select json_build_array(m.username, m.email, m.password, m.merged_password, m.profile_pic_url, u.username, c.email)
                 from django.users m join users u using (id) left join credentials c on c.user_id = u.id where id = 2";
    let before = site.value(birch).await;
    site.django(
        "create table kept as select * from \"user\" where id = 2; set session_replication_role = replica; delete from \"user\" where id = 2",
    )
    .await;
    site.import().await;
    assert_eq!(site.value(birch).await, json!(["", "", "", null, null, "deleted-2", null]));
    assert_eq!(site.import().await.report["kinds"]["users"]["changed"], 0);
    site.django("insert into \"user\" select * from kept").await;
    site.import().await;
    assert_eq!(site.value(birch).await, before);
}

#[tokio::test]
async fn a_moment_in_the_future_does_not_end_unread() {
    let site = Move::small().await;
    site.django("update articles_discussioncomment set created_at = now() + interval '10 years' where id = 18").await;
    let report = site.import().await.report;
    let repaired: Vec<_> =
        report["repairs"].as_array().unwrap().iter().filter(|row| row["repair"] == "time_in_future").collect();
    assert_eq!((repaired.len(), &repaired[0]["kind"], &repaired[0]["id"]), (1, &json!("comments"), &json!(18)));
    // It is read by whom Django has no flag for.
    assert_eq!(unread(&site, 3).await, json!([true, [3, 18]]));
    assert_eq!(unread(&site, 4).await, json!([false, [1]]));
    assert_eq!(unread(&site, 2).await, json!([false, null]));
    let app = site.serve().await;
    let written = django_client(&app, 1).post("/discussions/1/comments", json!({ "text": "New" })).await.expect(201);
    assert_eq!(unread(&site, 2).await, json!([false, [written["id"]]]));
    app.settled().await;
}

#[tokio::test]
async fn the_flags_of_who_leaves_and_comes_back_still_count() {
    let site = Move::small().await;
    site.import().await;
    let before = unread(&site, 3).await;
    site.django(
        "delete from communities_membership where user_id = 3 and community_id = 1;
         insert into communities_membership (id, joined_at, community_id, user_id) values (50, now(), 1, 3)",
    )
    .await;
    let refused = site.import().await.report["refusals"].clone();
    assert_eq!(unread(&site, 3).await, before);
    // They may have come back before the import, or after it.
    site.django("delete from communities_membership where id = 50").await;
    site.import().await;
    site.django("insert into communities_membership (id, joined_at, community_id, user_id) values (51, now(), 1, 3)")
        .await;
    assert_eq!(site.import().await.report["refusals"], refused);
    assert_eq!(unread(&site, 3).await, before);
}
