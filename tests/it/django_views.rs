//! The views with Django's names: its other pages read the same from them as from its own tables before.

use discussions::django::{follow, views};
use serde_json::{Value, json};
use sqlx::{Executor, PgConnection};

use crate::{
    app::TestApp,
    django_follow::{connect, imported, imported_from, options},
};

/// What Django's ORM asks for the pages that count and list, as it words it.
const QUERIES: [&str; 17] = [
    r#"SELECT COUNT(*) AS "__count" FROM "articles_discussion" WHERE "articles_discussion"."article_id" = 1"#,
    r#"SELECT COUNT(*) AS "__count" FROM "articles_discussion" WHERE "articles_discussion"."community_id" IS NULL"#,
    r#"SELECT COUNT(*) AS "__count" FROM "articles_discussion"
       WHERE ("articles_discussion"."community_id" = 2 AND "articles_discussion"."deleted_at" IS NULL)"#,
    r#"SELECT "articles_article"."id", COUNT(DISTINCT "articles_discussion"."id") AS "total_discussions",
              COUNT(DISTINCT "articles_discussioncomment"."id") AS "total_comments"
       FROM "articles_article"
       LEFT OUTER JOIN "articles_discussion" ON ("articles_article"."id" = "articles_discussion"."article_id")
       LEFT OUTER JOIN "articles_discussioncomment" ON ("articles_discussion"."id" = "articles_discussioncomment"."discussion_id")
       GROUP BY "articles_article"."id" ORDER BY "articles_article"."id" ASC"#,
    r#"SELECT "articles_discussion"."id", "articles_discussion"."topic", "articles_discussion"."content",
              "articles_discussion"."created_at", "articles_discussion"."article_id", "articles_discussion"."author_id",
              "articles_discussion"."community_id", "articles_discussion"."deleted_at", "articles_discussion"."is_pseudonymous",
              "articles_discussion"."is_resolved", "user"."username", "user"."profile_pic_url"
       FROM "articles_discussion" INNER JOIN "user" ON ("articles_discussion"."author_id" = "user"."id")
       WHERE "articles_discussion"."community_id" = 1 ORDER BY "articles_discussion"."created_at" DESC LIMIT 10"#,
    r#"SELECT 1 AS "a" FROM "articles_discussion"
       WHERE ("articles_discussion"."article_id" = 2 AND "articles_discussion"."author_id" = 2) LIMIT 1"#,
    r#"SELECT "articles_article"."id", EXISTS(SELECT 1 AS "a" FROM "articles_discussion" U0
              WHERE (U0."article_id" = ("articles_article"."id") AND U0."is_resolved") LIMIT 1) AS "has_resolved"
       FROM "articles_article" ORDER BY "articles_article"."id" ASC"#,
    r#"SELECT (DATE_TRUNC('month', "articles_discussion"."created_at" AT TIME ZONE 'UTC'))::date AS "month",
              COUNT("articles_discussion"."id") AS "n" FROM "articles_discussion" GROUP BY 1 ORDER BY 1 ASC"#,
    r#"SELECT "articles_discussioncomment"."id", "articles_discussioncomment"."content", "articles_discussioncomment"."created_at",
              "articles_discussioncomment"."author_id", "articles_discussioncomment"."discussion_id",
              "articles_discussioncomment"."parent_id", "articles_discussioncomment"."community_id",
              "articles_discussioncomment"."is_pseudonymous", "articles_discussioncomment"."is_deleted", "user"."username"
       FROM "articles_discussioncomment" INNER JOIN "user" ON ("articles_discussioncomment"."author_id" = "user"."id")
       ORDER BY "articles_discussioncomment"."id" ASC"#,
    r#"SELECT "articles_discussioncomment"."author_id", COUNT("articles_discussioncomment"."id") AS "n"
       FROM "articles_discussioncomment" WHERE NOT "articles_discussioncomment"."is_deleted"
       GROUP BY "articles_discussioncomment"."author_id" ORDER BY "n" DESC, 1 ASC"#,
    r#"SELECT "articles_reaction"."vote", COUNT("articles_reaction"."id") AS "n" FROM "articles_reaction"
       WHERE ("articles_reaction"."content_type_id" = 9 AND "articles_reaction"."object_id" IN (1, 2, 3))
       GROUP BY "articles_reaction"."vote" ORDER BY 1 ASC"#,
    r#"SELECT "articles_reaction"."content_type_id", "articles_reaction"."object_id", "articles_reaction"."vote", "articles_reaction"."user_id"
       FROM "articles_reaction" ORDER BY 1 ASC, 2 ASC, 4 ASC"#,
    r#"SELECT "articles_discussionsubscription"."user_id", "articles_discussionsubscription"."community_article_id",
              "articles_discussionsubscription"."is_active", "articles_article"."title", "communities_community"."name"
       FROM "articles_discussionsubscription"
       INNER JOIN "articles_article" ON ("articles_discussionsubscription"."article_id" = "articles_article"."id")
       INNER JOIN "communities_community" ON ("articles_discussionsubscription"."community_id" = "communities_community"."id")
       WHERE "articles_discussionsubscription"."is_active" ORDER BY 1 ASC, 2 ASC"#,
    r#"SELECT "articles_discussionsummary"."content", "articles_discussionsummary"."community_article_id",
              "articles_discussionsummary"."created_by_id", "articles_discussionsummary"."last_updated_by_id"
       FROM "articles_discussionsummary" ORDER BY 2 ASC"#,
    r#"SELECT "communities_communityarticle"."id", COUNT("articles_discussion"."id") AS "n"
       FROM "communities_communityarticle"
       LEFT OUTER JOIN "articles_discussion" ON ("communities_communityarticle"."article_id" = "articles_discussion"."article_id"
            AND "communities_communityarticle"."community_id" = "articles_discussion"."community_id")
       GROUP BY "communities_communityarticle"."id" ORDER BY 1 ASC"#,
    r#"SELECT "articles_userflag"."flag_type", "articles_userflag"."entity_id" FROM "articles_userflag"
       WHERE ("articles_userflag"."flag_type" = 'pinned' AND "articles_userflag"."entity_type" = 'discussion')"#,
    r#"SELECT DISTINCT "user"."id", "user"."username" FROM "user"
       INNER JOIN "articles_discussion" ON ("user"."id" = "articles_discussion"."author_id")
       WHERE "articles_discussion"."community_id" = 2 ORDER BY 1 ASC"#,
];

/// Removes from the source what comes repaired or not at all.
const GOOD_ROWS_ALONE: &str = "
    delete from articles_reaction where id in (3, 5, 6, 7, 9);
    delete from articles_discussionsubscription where id in (3, 5);
    delete from articles_userflag where id in (5, 6, 8);
    delete from articles_discussionsummary where id in (2, 3, 4);
    delete from communities_communityarticle where id = 5;
    delete from articles_discussioncomment where id in (4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 19);
    delete from articles_discussion where id in (5, 6, 7, 8, 9)";

async fn answers(connection: &mut PgConnection) -> Vec<Value> {
    let mut answers = Vec::new();
    for query in QUERIES {
        let rows = format!("select coalesce(json_agg(q), '[]') from ({query}) q");
        answers.push(sqlx::query_scalar(&rows).fetch_one(&mut *connection).await.unwrap());
    }
    answers
}

/// A connection of Django's, which finds the views.
async fn django(app: &TestApp) -> PgConnection {
    let mut connection = connect(app).await;
    connection.execute("set search_path = django_views, public").await.unwrap();
    connection
}

#[tokio::test]
async fn djangos_queries_read_the_same_from_the_views() {
    let app = TestApp::start().await;
    app.sql(include_str!("django/source.sql")).await;
    app.sql(GOOD_ROWS_ALONE).await;
    let before = answers(&mut connect(&app).await).await;
    for (query, rows) in QUERIES.iter().zip(&before) {
        assert_ne!(rows, &json!([]), "it shows something: {query}");
    }
    let app = imported_from(app).await;
    let made = views::make(&mut connect(&app).await, "django_views").await.unwrap();
    assert_eq!(
        made,
        [
            "articles_discussion",
            "articles_discussioncomment",
            "articles_discussionsubscription",
            "articles_discussionsummary",
            "articles_reaction",
            "articles_userflag"
        ]
    );
    let mut connection = django(&app).await;
    for ((query, before), after) in QUERIES.iter().zip(before).zip(answers(&mut connection).await) {
        assert_eq!(after, before, "{query}");
    }

    // They show what this server writes.
    let discussion = app.client(2).discussion(1, 1, "After the move").await;
    let comment = app.client(3).comment(&discussion, "Nice").await;
    app.client(1).delete(&format!("/comments/{}", comment["id"])).await.refused(403, "not_author");
    app.client(3).put(&format!("/discussions/{}/vote", discussion["id"]), json!({ "value": 1 })).await.expect(200);
    app.client(3).delete(&format!("/comments/{}", comment["id"])).await.expect(204);
    let shown: (String, String, bool, i64, i64) = sqlx::query_as(
        "select d.topic, k.content, k.is_deleted, d.community_id, (select count(*) from articles_reaction r where r.object_id = d.id and r.content_type_id = 8)
         from articles_discussion d join articles_discussioncomment k on k.discussion_id = d.id where d.id = $1",
    )
    .bind(discussion["id"].as_i64())
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(shown, ("After the move".to_owned(), "[deleted]".to_owned(), true, 1, 1));
}

/// [`imported_from`], with the views.
async fn viewed() -> TestApp {
    let app = TestApp::start().await;
    app.sql(include_str!("django/source.sql")).await;
    let app = imported_from(app).await;
    views::make(&mut connect(&app).await, "django_views").await.unwrap();
    app
}

#[tokio::test]
async fn a_connection_of_djangos_finds_the_views_as_soon_as_they_are_there() {
    let app = imported().await;
    let mut django = django(&app).await;
    let here = "select count(*) from articles_discussion where topic = 'Here'";
    assert_eq!(sqlx::query_scalar::<_, i64>(here).fetch_one(&mut django).await.unwrap(), 0);
    views::make(&mut connect(&app).await, "django_views").await.unwrap();
    app.client(2).discussion(1, 1, "Here").await;
    assert_eq!(sqlx::query_scalar::<_, i64>(here).fetch_one(&mut django).await.unwrap(), 1);
    let vote = "insert into articles_reaction (object_id, vote, created_at, content_type_id, user_id) values (1, 1, now(), 8, 4)";
    let refused = django.execute(vote).await.unwrap_err().to_string();
    assert!(refused.contains("discussions server"), "{refused}");
    app.settled().await;
}

#[tokio::test]
async fn the_views_and_this_server_need_no_mirror() {
    let app = viewed().await;
    follow::begin(&mut connect(&app).await, false).await.unwrap();
    app.sql("drop schema django cascade").await;
    app.client(2).discussion(1, 1, "Without the mirror").await;
    let mut django = django(&app).await;
    let there = "select count(*) from articles_discussion where topic = 'Without the mirror'";
    assert_eq!(sqlx::query_scalar::<_, i64>(there).fetch_one(&mut django).await.unwrap(), 1);
    // Nothing is followed any more.
    app.sql("update \"user\" set username = 'ash' where id = 2").await;
    let followed = "select count(*) from users where username = 'ash'";
    assert_eq!(sqlx::query_scalar::<_, i64>(followed).fetch_one(&app.pool).await.unwrap(), 0);
    app.settled().await;
}

#[tokio::test]
async fn writing_to_the_views_says_why_not() {
    let app = viewed().await;
    let mut connection = django(&app).await;
    for write in [
        "insert into articles_discussion (topic, content, created_at, updated_at, article_id, author_id, is_pseudonymous, is_resolved)
         values ('New', 'New', now(), now(), 1, 1, false, false) returning id",
        "update articles_discussion set content = '[deleted]' where id = 1",
        "insert into articles_discussioncomment (content, author_id, discussion_id) values ('New', 1, 1)",
        "update articles_discussioncomment set is_deleted = true where id = 1",
        "insert into articles_reaction (object_id, vote, created_at, content_type_id, user_id) values (2, 1, now(), 9, 4)",
        "update articles_reaction set vote = -1 where content_type_id = 8",
        "update articles_discussionsubscription set is_active = false",
        "update articles_discussionsummary set content = 'New'",
        "insert into articles_userflag (flag_type, entity_type, entity_id, created_at, user_id) values ('unread', 'comment', 1, now(), 1)",
    ] {
        let refused = connection.execute(write).await.unwrap_err();
        let refused = refused.as_database_error().unwrap();
        assert_eq!(refused.code().unwrap(), "0A000", "{write}");
        assert!(refused.message().contains("this is written at the discussions server now"), "{}", refused.message());
    }
    // Votes on articles and flags of other kinds stay Django's, in Django's own tables.
    let id: i64 = sqlx::query_scalar(
        "insert into articles_reaction (object_id, vote, created_at, content_type_id, user_id) values (2, 1, now(), 7, 4) returning id",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    let own = |sql: &'static str| sqlx::query_scalar::<_, i16>(sql).bind(id);
    assert_eq!(
        own("select vote from public.articles_reaction where id = $1").fetch_one(&mut connection).await.unwrap(),
        1
    );
    connection
        .execute("update articles_reaction set vote = -1 where content_type_id = 7 and user_id = 4")
        .await
        .unwrap();
    assert_eq!(
        own("select vote from public.articles_reaction where id = $1").fetch_one(&mut connection).await.unwrap(),
        -1
    );
    connection.execute("delete from articles_reaction where content_type_id = 7 and user_id = 4").await.unwrap();
    assert!(
        own("select vote from public.articles_reaction where id = $1")
            .fetch_optional(&mut connection)
            .await
            .unwrap()
            .is_none()
    );
    connection
        .execute("insert into articles_userflag (flag_type, entity_type, entity_id, created_at, user_id) values ('pinned', 'discussion', 2, now(), 1)")
        .await
        .unwrap();
}

/// What Django does when it deletes a person: it looks for what hangs on them, by the views, and deletes that first.
const DELETE_PERSON: &str = "
    begin;
    delete from articles_reaction where user_id = 2;
    delete from articles_userflag where user_id = 2;
    delete from articles_discussionsubscription where user_id = 2;
    delete from articles_anonymousidentity where user_id = 2;
    delete from articles_discussioncomment where author_id = 2;
    delete from articles_discussion where author_id = 2;
    update articles_discussionsummary set created_by_id = null where created_by_id = 2;
    update articles_discussionsummary set last_updated_by_id = null where last_updated_by_id = 2;
    update articles_article set submitter_id = 1 where submitter_id = 2;
    delete from communities_membership where user_id = 2;
    delete from communities_community_admins where user_id = 2;
    delete from communities_community_reviewers where user_id = 2;
    delete from \"user\" where id = 2;
    commit";

#[tokio::test]
async fn what_django_deletes_by_the_views_stays_here_and_the_deletion_succeeds() {
    let app = viewed().await;
    let texts = "select (select count(*) from discussions where deleted_at is null) + (select count(*) from comments where deleted_at is null)";
    let before: i64 = sqlx::query_scalar(texts).fetch_one(&app.pool).await.unwrap();
    let mut connection = django(&app).await;
    connection.execute(sqlx::raw_sql(DELETE_PERSON)).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(texts).fetch_one(&app.pool).await.unwrap(), before);
    let left: i64 = sqlx::query_scalar("select count(*) from public.articles_discussion where author_id = 2")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
    // Nor does the next import take it for a deletion of what was written.
    discussions::django::import::run(&options(&app, &["--follow"])).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(texts).fetch_one(&app.pool).await.unwrap(), before);
    let name: String =
        sqlx::query_scalar("select username from users where id = 2").fetch_one(&app.pool).await.unwrap();
    assert_eq!(name, "deleted-2");
}

#[tokio::test]
async fn the_views_are_made_again_and_the_way_back_leaves_nothing() {
    let app = viewed().await;
    let mut connection = connect(&app).await;
    let tables = "select array_agg(c.relname::text || coalesce(t.tgname, '') order by c.relname, t.tgname) from pg_class c
                  left join pg_trigger t on t.tgrelid = c.oid and not t.tgisinternal where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'";
    let with_views: Vec<String> = sqlx::query_scalar(tables).fetch_one(&app.pool).await.unwrap();
    views::make(&mut connection, "django_views").await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, Vec<String>>(tables).fetch_one(&app.pool).await.unwrap(), with_views);
    assert!(views::drop(&mut connection, "django_views").await.unwrap());
    assert!(!views::drop(&mut connection, "django_views").await.unwrap());
    let without: Vec<String> = sqlx::query_scalar(tables).fetch_one(&app.pool).await.unwrap();
    assert!(!without.iter().any(|name| name.contains("leftovers")), "{without:?}");
    // Django's own tables are as they were, for the same search_path.
    let mut django = django(&app).await;
    let topic: String =
        sqlx::query_scalar("update articles_discussion set topic = 'Back' where id = 1 returning topic")
            .fetch_one(&mut django)
            .await
            .unwrap();
    assert_eq!(topic, "Back");
    let refused = views::drop(&mut connection, "public").await.unwrap_err().to_string();
    assert!(refused.contains("that this command has not made"), "{refused}");
    let refused = views::make(&mut connection, "public").await.unwrap_err().to_string();
    assert!(refused.contains("that this command has not made"), "{refused}");
}
