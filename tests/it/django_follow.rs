//! Following Django's own tables: what Django's SQL does to them reaches ours, and the polls, in Django's transaction.

use discussions::django::{
    follow::{self, Following},
    import, views,
};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, Row};

use crate::app::{PATIENCE, TestApp, TestDatabase};

/// An application whose database has Django's tables too, with everything imported. User 1 is in communities 1 (public), 2 (private)
/// and 3 (hidden); 5 is in community 2 alone. Article 1 is in community 1, articles 2 and 4 are in community 2.
pub(crate) async fn imported() -> TestApp {
    let app = TestApp::start().await;
    app.sql(include_str!("django/source.sql")).await;
    imported_from(app).await
}

/// Imports what Django's tables in the same database have.
pub(crate) async fn imported_from(app: TestApp) -> TestApp {
    import::run(&options(&app, &[])).await.unwrap();
    app.settled().await;
    app
}

/// The options of `discussions import-django`, on the application's database.
pub(crate) fn options(app: &TestApp, more: &[&str]) -> import::Options {
    let url = app.database.url.as_str();
    let from = if more.contains(&"--from") { [].as_slice() } else { &["--from", url] };
    parsed(["import-django", "--database-url", url].iter().chain(from).chain(more).copied())
}

fn parsed<'a>(arguments: impl Iterator<Item = &'a str>) -> import::Options {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        options: import::Options,
    }
    <Cli as clap::Parser>::parse_from(arguments).options
}

/// [`imported`], and Django's directory is followed.
async fn followed() -> TestApp {
    let app = imported().await;
    follow::begin(&mut connect(&app).await, false).await.unwrap();
    app
}

pub(crate) async fn connect(app: &TestApp) -> PgConnection {
    PgConnection::connect(&app.database.url).await.unwrap()
}

pub(crate) async fn status(app: &TestApp) -> Following {
    follow::status(&mut connect(app).await).await.unwrap()
}

async fn number(app: &TestApp, sql: &str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&app.pool).await.unwrap()
}

/// The triggers on Django's tables and ours that following has made.
async fn triggers(app: &TestApp) -> i64 {
    number(app, "select count(*) from pg_trigger t join pg_proc p on p.oid = t.tgfoid where p.pronamespace = 'django'::regnamespace").await
}

const ENDS_MEMBERSHIP: &str = "delete from communities_membership where community_id = 2 and user_id = 5";

#[tokio::test]
async fn a_membership_that_sql_removes_in_djangos_table_ends_delivery_to_a_parked_poll() {
    let app = followed().await;
    let (writer, member) = (app.client(1), app.client(5));
    app.settled().await;
    let mut queue = member.register().await;
    let poll = queue.park(&app).await;
    app.sql(ENDS_MEMBERSHIP).await;
    let answer = poll.await.unwrap().expect(200);
    let events = answer["events"].as_array().unwrap();
    assert_eq!(events.len(), 1, "{answer}");
    let event = &events[0];
    assert_eq!((&event["type"], &event["community_id"]), (&json!("membership_changed"), &json!(2)));
    // The lists of roles say reviewer.
    assert_eq!((&event["previous_role"], &event["role"]), (&json!("reviewer"), &Value::Null));

    queue.cursor = answer["last_event_id"].as_i64().unwrap();
    writer.discussion(2, 2, "After it").await;
    app.settled().await;
    assert_eq!(queue.now().await, Vec::<Value>::new());
    member.get("/articles/2/discussions?community_id=2").await.refused(403, "not_a_member");
    // It comes back as Django puts it back.
    app.sql("insert into communities_membership (joined_at, community_id, user_id) values (now(), 2, 5)").await;
    member.get("/articles/2/discussions?community_id=2").await.expect(200);
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn an_account_that_django_ends_is_refused_and_its_parked_poll_ends() {
    let app = followed().await;
    let member = app.client(5);
    let queue = member.register().await;
    let poll = queue.park(&app).await;
    app.sql("update \"user\" set is_active = false where id = 5").await;
    let answer = poll.await.unwrap();
    assert!((400..500).contains(&answer.status), "{} {}", answer.status, answer.body);
    member.get("/unread").await.refused(401, "token_invalid");
}

#[tokio::test]
async fn names_pictures_roles_kinds_articles_and_places_follow() {
    let app = followed().await;
    app.settled().await;
    let mut queue = app.client(1).register().await;
    app.sql(
        "update \"user\" set username = 'anew', profile_pic_url = 'https://pictures.example.org/anew.png' where id = 2;
         insert into communities_community_admins (community_id, user_id) values (2, 5);
         update communities_community set type = 'hidden', name = 'Quiet Lab' where id = 2;
         update articles_article set title = 'Another title' where id = 1;
         update communities_communityarticle set is_pseudonymous = true where id = 2;
         insert into articles_article (id, title, submission_type, slug, submitter_id, created_at) values (70, 'New', 'Private', 'new', 5, now());
         insert into communities_communityarticle (submitted_at, article_id, community_id, is_pseudonymous) values (now(), 70, 2, false);
         delete from communities_community_admins where id = 2",
    )
    .await;
    assert_eq!(
        number(&app, "select count(*) from users where username = 'anew' and avatar_url like '%anew.png'").await,
        1
    );
    let roles: Vec<(i64, String)> =
        sqlx::query_as("select user_id, role from memberships where community_id = 2 and user_id in (1, 5) order by 1")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    assert_eq!(roles, [(1, "member".to_owned()), (5, "admin".to_owned())]);
    assert_eq!(
        number(&app, "select count(*) from communities where id = 2 and kind = 'hidden' and name = 'Quiet Lab'").await,
        1
    );
    assert_eq!(number(&app, "select count(*) from articles where title in ('Another title', 'New')").await, 2);
    assert_eq!(
        number(
            &app,
            "select count(*) from community_articles where community_id = 2 and article_id = 2 and is_pseudonymous"
        )
        .await,
        1
    );
    app.client(5).discussion(70, 2, "On the new article").await;
    app.settled().await;
    let events = queue.now().await;
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    for expected in ["author_changed", "community_changed", "membership_changed", "new_discussion"] {
        assert!(types.contains(&expected), "{types:?}");
    }
    // What does not concern us is no change: no event, no row of the mirror.
    let before = number(&app, "select coalesce(max(id), 0) from outbox").await;
    app.sql("update \"user\" set last_login = now(), bio = 'Hello'").await;
    assert_eq!(number(&app, "select coalesce(max(id), 0) from outbox").await, before);
    assert!(status(&app).await.is_in_step);
}

/// Deletes a community as Django does: first what hangs on it, in one transaction.
const DELETE_COMMUNITY: &str = "
    begin;
    delete from articles_discussionsummary where community_article_id in (select id from communities_communityarticle where community_id = {id});
    delete from articles_discussionsubscription where community_id = {id};
    delete from articles_anonymousidentity where community_id = {id};
    update articles_discussioncomment set parent_id = null where parent_id in (
        select k.id from articles_discussioncomment k join articles_discussion d on d.id = k.discussion_id where d.community_id = {id});
    delete from articles_discussioncomment where community_id = {id}
        or discussion_id in (select id from articles_discussion where community_id = {id});
    delete from articles_discussion where community_id = {id};
    delete from communities_communityarticle where community_id = {id};
    delete from communities_membership where community_id = {id};
    delete from communities_community_admins where community_id = {id};
    delete from communities_community_moderators where community_id = {id};
    delete from communities_community_reviewers where community_id = {id};
    delete from communities_community where id = {id};
    commit";

#[tokio::test]
async fn a_community_that_django_deletes_is_closed_here_and_keeps_what_was_written() {
    let app = followed().await;
    let (admin, of_private) = (app.client(2), app.client(5));
    let written = number(&app, "select count(*) from discussions").await;
    let queue = of_private.register().await;
    let poll = queue.park(&app).await;
    for id in [1, 2] {
        app.sql(&DELETE_COMMUNITY.replace("{id}", &id.to_string())).await;
        assert_eq!(
            number(&app, &format!("select count(*) from communities where id = {id} and removed_at is not null")).await,
            1
        );
        assert_eq!(number(&app, &format!("select count(*) from memberships where community_id = {id}")).await, 0);
        assert_eq!(
            number(
                &app,
                &format!("select count(*) from community_articles where community_id = {id} and removed_at is null")
            )
            .await,
            0
        );
    }
    let answer = poll.await.unwrap().expect(200);
    assert_eq!(answer["events"][0]["type"], "membership_changed");
    assert_eq!(number(&app, "select count(*) from discussions").await, written);
    assert_eq!(
        number(&app, "select count(*) from discussions where deleted_at is not null").await,
        1,
        "as it was before"
    );
    admin.post("/discussions/1/comments", json!({ "text": "Too late" })).await.refused(409, "place_removed");
    assert_eq!(admin.get("/discussions/1").await.expect(200)["topic"], "A public question");
    of_private.get("/discussions/2").await.refused(403, "not_a_member");
    assert!(status(&app).await.is_in_step);

    // Django puts it back from a backup.
    app.sql(
        "insert into communities_community (id, name, created_at, slug, type) values (1, 'Public Lab', now(), 'public-lab', 'public');
         insert into communities_membership (joined_at, community_id, user_id) values (now(), 1, 2);
         insert into communities_communityarticle (id, submitted_at, article_id, community_id, is_pseudonymous) values (1, now(), 1, 1, false)",
    )
    .await;
    admin.post("/discussions/1/comments", json!({ "text": "In time" })).await.expect(201);
}

#[tokio::test]
async fn a_user_and_an_article_that_django_deletes_stay_for_what_was_written() {
    let app = followed().await;
    app.sql(
        "begin;
         delete from articles_reaction where user_id = 3;
         delete from articles_userflag where user_id = 3;
         delete from articles_discussionsubscription where user_id = 3;
         delete from articles_anonymousidentity where user_id = 3;
         update articles_discussioncomment set parent_id = null
             where parent_id in (select id from articles_discussioncomment where author_id = 3);
         delete from articles_discussioncomment where author_id = 3
             or discussion_id in (select id from articles_discussion where author_id = 3);
         delete from articles_discussion where author_id = 3;
         delete from communities_membership where user_id = 3;
         delete from \"user\" where id = 3;
         commit",
    )
    .await;
    let gone = sqlx::query("select username, avatar_url, is_active from users where id = 3")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(gone.get::<&str, _>("username"), "deleted-3");
    assert_eq!((gone.get::<Option<&str>, _>("avatar_url"), gone.get::<bool, _>("is_active")), (None, false));
    assert_eq!(number(&app, "select count(*) from memberships where user_id = 3").await, 0);
    assert_eq!(number(&app, "select count(*) from credentials where user_id = 3").await, 0);
    let comments = app.client(1).get("/discussions/1/comments").await.expect(200);
    assert!(comments.to_string().contains("deleted-3"), "their comments stay");

    app.sql(
        "begin;
         delete from articles_discussionsubscription where article_id = 2;
         delete from articles_discussionsummary where community_article_id = 2;
         delete from articles_anonymousidentity where article_id = 2;
         delete from articles_discussioncomment where discussion_id in (select id from articles_discussion where article_id = 2);
         update articles_discussioncomment set parent_id = null
             where parent_id is not null and parent_id not in (select id from articles_discussioncomment);
         delete from articles_discussion where article_id = 2;
         delete from communities_communityarticle where article_id = 2;
         delete from articles_article where id = 2;
         commit",
    )
    .await;
    app.client(1).post("/discussions/2/comments", json!({ "text": "Too late" })).await.refused(409, "place_removed");
    app.client(1).get("/discussions/2").await.expect(200);
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn a_table_that_is_emptied_follows() {
    let app = followed().await;
    app.sql("truncate communities_membership").await;
    assert_eq!(number(&app, "select count(*) from memberships").await, 0);
    app.sql("truncate communities_community cascade").await;
    assert_eq!(number(&app, "select count(*) from communities where removed_at is null and id <= 4").await, 0);
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn the_triggers_have_our_rights_whatever_role_django_has() {
    let app = followed().await;
    let role = format!("django_{}", uuid::Uuid::new_v4().simple());
    let mut connection = connect(&app).await;
    connection.execute(sqlx::raw_sql(&format!(
        "create role {role};
         grant usage on schema public to {role};
         grant select, insert, update, delete on \"user\", communities_community, communities_membership, articles_article,
             communities_community_admins, communities_community_moderators, communities_community_reviewers,
             communities_communityarticle to {role};
         grant usage on all sequences in schema public to {role};
         set role {role}"
    )))
    .await
    .unwrap();
    // Whatever else it sets, and whatever it puts before our tables.
    connection.execute("create temp table memberships (user_id bigint)").await.unwrap();
    connection.execute("set search_path = pg_temp, public").await.unwrap();
    connection.execute(ENDS_MEMBERSHIP).await.unwrap();
    connection.execute("update \"user\" set username = 'anew' where id = 2").await.unwrap();
    for forbidden in [
        "select * from public.memberships",
        "delete from outbox",
        "select * from django.users",
        "select django.merge_users(array[1])",
        "select django.unfollow()",
    ] {
        let refused = connection.execute(forbidden).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "42501", "{forbidden}");
    }
    assert_eq!(number(&app, "select count(*) from memberships where community_id = 2 and user_id = 5").await, 0);
    assert_eq!(number(&app, "select count(*) from users where username = 'anew'").await, 1);
    assert!(status(&app).await.is_in_step);
    connection.execute(sqlx::raw_sql(&format!("reset role; drop owned by {role}; drop role {role}"))).await.unwrap();
}

#[tokio::test]
async fn djangos_statement_succeeds_whatever_fails_here_and_is_made_up_for() {
    let app = followed().await;
    app.sql("alter table memberships rename to memberships_away").await;
    app.sql(ENDS_MEMBERSHIP).await;
    app.sql("alter table memberships_away rename to memberships").await;
    assert_eq!(
        number(&app, "select count(*) from communities_membership where user_id = 5").await,
        0,
        "Django has its way"
    );
    assert_eq!(number(&app, "select count(*) from memberships where user_id = 5").await, 1);
    let behind = status(&app).await;
    assert!(behind.is_following && !behind.is_in_step);
    assert_eq!((behind.failures[0].kind.as_str(), behind.failures[0].id), ("memberships", 7));
    assert!(behind.failures[0].reason.contains("memberships"), "{:?}", behind.failures);
    let table = behind.tables.iter().find(|table| table.source == "communities_membership").unwrap();
    assert_eq!((table.pending, table.behind, table.failures), (1, 0, 1));

    // The next change of any table that is followed tries it again.
    app.sql("update django.failures set at = at - interval '1 minute'").await;
    app.sql("update \"user\" set last_login = now() where id = 1").await;
    assert_eq!(number(&app, "select count(*) from memberships where user_id = 5").await, 0);
    assert!(status(&app).await.is_in_step);

    // Nothing of ours works at all.
    app.sql("drop function django.follow_rows(text, text, text, bigint[]); drop function django.copy(text, text, text, bigint[])").await;
    app.sql("update \"user\" set username = 'anew' where id = 2").await;
    app.sql("drop table django.failures; delete from django.settings where name = 'version'").await;
    app.sql("update \"user\" set username = 'anewer' where id = 2; truncate communities_membership").await;
    assert_eq!(number(&app, "select count(*) from users where username like 'anew%'").await, 0);
    // Following anew mends it.
    follow::begin(&mut connect(&app).await, false).await.unwrap();
    assert_eq!(number(&app, "select count(*) from users where username = 'anewer'").await, 1);
    assert_eq!(number(&app, "select count(*) from memberships").await, 0);
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn django_does_not_wait_long_for_a_lock_of_ours() {
    let app = followed().await;
    let mut connection = connect(&app).await;
    let mut lock = connection.begin().await.unwrap();
    lock.execute("select from users where id = 2 for update").await.unwrap();
    app.sql("update \"user\" set username = 'anew' where id = 2").await;
    lock.rollback().await.unwrap();
    let behind = status(&app).await;
    assert!(behind.failures[0].reason.contains("lock timeout"), "{behind:?}");
    follow::begin(&mut connection, false).await.unwrap();
    assert_eq!(number(&app, "select count(*) from users where username = 'anew'").await, 1);
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn a_statement_timeout_of_djangos_ends_our_wait_and_not_its_statement() {
    let app = followed().await;
    let (mut holder, mut django) = (connect(&app).await, connect(&app).await);
    let mut lock = holder.begin().await.unwrap();
    lock.execute("select from users where id = 2 for update").await.unwrap();
    django.execute("set statement_timeout = '300ms'").await.unwrap();
    django.execute("update \"user\" set username = 'anew' where id = 2").await.unwrap();
    lock.rollback().await.unwrap();
    assert_eq!(number(&app, "select count(*) from \"user\" where username = 'anew'").await, 1);
    let behind = status(&app).await;
    assert!(behind.failures[0].reason.contains("statement timeout"), "{behind:?}");
    follow::begin(&mut django, false).await.unwrap();
    assert_eq!(number(&app, "select count(*) from users where username = 'anew'").await, 1);
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn django_is_never_the_victim_of_a_deadlock_with_the_command() {
    let app = imported().await;
    let (mut ours, mut django) = (connect(&app).await, connect(&app).await);
    let mut a = django.begin().await.unwrap();
    a.execute(ENDS_MEMBERSHIP).await.unwrap();
    let begins = follow::begin(&mut ours, false);
    let writes = async {
        let waits = "select exists (select from pg_locks l where not l.granted and l.relation = 'communities_membership'::regclass)";
        let is_waiting = async { while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&app.pool).await.unwrap() {} };
        tokio::time::timeout(PATIENCE, is_waiting).await.expect("the command waits for Django");
        // The command has locked this one.
        a.execute("update \"user\" set username = 'anew' where id = 2").await.expect("Django has its way");
        a.commit().await.unwrap();
    };
    let (begun, ()) = tokio::join!(begins, writes);
    begun.expect("the command gets its locks when Django has ended");
    assert_eq!(number(&app, "select count(*) from users where username = 'anew'").await, 1);
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn following_again_waits_for_no_reader() {
    let app = imported().await;
    let (mut ours, mut reader) = (connect(&app).await, connect(&app).await);
    follow::begin(&mut ours, true).await.unwrap();
    let mut reads = reader.begin().await.unwrap();
    reads.execute("select from \"user\", articles_discussion, discussions limit 1").await.unwrap();
    follow::begin(&mut ours, true).await.unwrap();
    assert_eq!(triggers(&app).await, 13 * 4 + 5);
    reads.rollback().await.unwrap();
}

#[tokio::test]
async fn the_status_names_the_roles_that_following_trusts() {
    let app = followed().await;
    assert_eq!(status(&app).await.trusted_roles, Vec::<String>::new());
    let roles = ["creates", "owns", "reads"].map(|does| format!("{does}_{}", uuid::Uuid::new_v4().simple()));
    let [creates, owns, reads] = &roles;
    let mut connection = connect(&app).await;
    connection.execute(sqlx::raw_sql(&format!(
        "create role {creates}; create role {owns}; create role {reads};
         grant create on schema public to {creates}; alter table articles_article owner to {owns}; grant select on articles_article to {reads}"
    )))
    .await
    .unwrap();
    assert_eq!(status(&app).await.trusted_roles, [creates.as_str(), owns.as_str()]);
    connection.execute(sqlx::raw_sql(&format!(
        "alter table articles_article owner to current_user; drop owned by {creates}, {owns}, {reads}; drop role {creates}, {owns}, {reads}"
    )))
    .await
    .unwrap();
}

#[tokio::test]
async fn a_role_that_is_no_superuser_follows_from_a_schema_of_its_own() {
    let database = TestDatabase::create_empty().await;
    let (ours, django) =
        (format!("ours_{}", uuid::Uuid::new_v4().simple()), format!("django_{}", uuid::Uuid::new_v4().simple()));
    let mut admin = PgConnection::connect(&database.url).await.unwrap();
    let url = |role: &str| format!("postgres://{role}:secret@{}", database.url.rsplit_once('@').unwrap().1);
    let name: String = sqlx::query_scalar("select current_database()::text").fetch_one(&mut admin).await.unwrap();
    admin.execute(sqlx::raw_sql(&format!(
        "create role {ours} login password 'secret'; create role {django} login password 'secret'; grant {django} to {ours};
         create schema {ours} authorization {ours}; alter role {ours} set search_path = {ours};
         grant create on database \"{name}\" to {ours}; grant create on schema public to {django}"
    )))
    .await
    .unwrap();
    let mut writer = PgConnection::connect(&url(&django)).await.unwrap();
    writer.execute(sqlx::raw_sql(include_str!("django/source.sql"))).await.unwrap();
    let run = async |more: &[&str]| {
        let url = url(&ours);
        let arguments = ["import-django", "--database-url", &url, "--from", &url];
        import::run(&parsed(arguments.into_iter().chain(more.iter().copied()))).await.unwrap()
    };
    assert_eq!(run(&["--follow", "--with-discussions"]).await, None);
    writer
        .execute(sqlx::raw_sql(
            "update articles_discussioncomment set content = 'Anew', updated_at = now() where id = 3;
             insert into articles_reaction (object_id, vote, created_at, content_type_id, user_id) values (3, 1, now(), 9, 4)",
        ))
        .await
        .unwrap();
    let mut connection = PgConnection::connect(&url(&ours)).await.unwrap();
    let anew: i64 = sqlx::query_scalar("select count(*) from comments where text like '%Anew' and upvotes > 0")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(anew, 1);
    let refused = connection.execute("update comments set text = 'Ours' where id = 3").await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().constraint(), Some("django_writes"));
    let state = follow::status(&mut connection).await.unwrap();
    assert_eq!((state.is_in_step, state.trusted_roles), (true, vec![django.clone()]), "it owns the tables");
    assert_eq!(run(&["--follow"]).await, None);
    views::make(&mut connection, &format!("views_of_{ours}")).await.unwrap();
    drop((connection, writer));
    admin
        .execute(sqlx::raw_sql(&format!("drop owned by {ours}, {django} cascade; drop role {ours}, {django}")))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_django_rolls_back_leaves_no_trace() {
    let app = followed().await;
    let before = number(&app, "select coalesce(max(id), 0) from outbox").await;
    app.sql(&format!("begin; {ENDS_MEMBERSHIP}; delete from communities_community_admins; rollback")).await;
    assert_eq!(number(&app, "select coalesce(max(id), 0) from outbox").await, before);
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn following_twice_is_as_once_and_the_way_back_leaves_nothing() {
    let app = followed().await;
    let once = triggers(&app).await;
    assert_eq!(once, 32);
    let before = number(&app, "select coalesce(max(id), 0) from outbox").await;
    follow::begin(&mut connect(&app).await, false).await.unwrap();
    assert_eq!((triggers(&app).await, number(&app, "select coalesce(max(id), 0) from outbox").await), (once, before));

    let mut connection = connect(&app).await;
    assert_eq!(follow::end(&mut connection).await.unwrap().len(), 8);
    assert_eq!(triggers(&app).await, 0);
    app.sql(ENDS_MEMBERSHIP).await;
    assert_eq!(number(&app, "select count(*) from memberships where user_id = 5").await, 1);
    let stopped = status(&app).await;
    assert!(!stopped.is_following && !stopped.is_in_step);
    assert_eq!(stopped.tables.iter().map(|table| table.behind).sum::<i64>(), 1);
    assert_eq!(follow::end(&mut connection).await.unwrap(), Vec::<String>::new());

    // What happened meanwhile comes when it begins again.
    follow::begin(&mut connection, false).await.unwrap();
    assert_eq!(number(&app, "select count(*) from memberships where user_id = 5").await, 0);
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn a_trigger_that_somebody_disables_is_noticed() {
    let app = followed().await;
    app.sql("alter table communities_membership disable trigger discussions_follow_delete").await;
    app.sql(ENDS_MEMBERSHIP).await;
    let behind = status(&app).await;
    assert!(behind.is_following && !behind.is_in_step);
    let table = behind.tables.iter().find(|table| table.source == "communities_membership").unwrap();
    assert_eq!((table.is_followed, table.behind), (false, 1));
}

#[tokio::test]
async fn without_djangos_tables_it_says_what_to_do() {
    let app = TestApp::start().await;
    let mut connection = connect(&app).await;
    let refused = follow::begin(&mut connection, false).await.unwrap_err().to_string();
    assert!(
        refused.contains("communities_membership") && refused.contains("run discussions import-django again"),
        "{refused}"
    );
    assert!(!follow::status(&mut connection).await.unwrap().is_following);
    app.sql(include_str!("django/source.sql")).await;
    let refused = follow::begin(&mut connection, false).await.unwrap_err().to_string();
    assert!(refused.contains("run discussions import-django first"), "{refused}");
}

#[tokio::test]
async fn an_import_while_following_keeps_what_the_triggers_brought() {
    let app = imported().await;
    assert_eq!(import::run(&options(&app, &["--follow"])).await.unwrap(), None);
    // The mirror is newer than any snapshot that an import takes: as if Django had changed it since.
    app.sql("update django.users set username = 'newer' where id = 2; select django.merge_users(array[2])").await;
    import::run(&options(&app, &[])).await.unwrap();
    assert_eq!(number(&app, "select count(*) from users where username = 'newer'").await, 1);
    assert_eq!(import::run(&options(&app, &["--status"])).await.unwrap(), Some(1), "it is not what Django has");
    assert_eq!(import::run(&options(&app, &["--follow", "--with-discussions"])).await.unwrap(), None);
    assert_eq!(number(&app, "select count(*) from users where username = 'newer'").await, 0);
    assert_eq!(import::run(&options(&app, &["--status", "--json"])).await.unwrap(), None);
    assert_eq!(import::run(&options(&app, &["--unfollow"])).await.unwrap(), None);
    assert_eq!(import::run(&options(&app, &["--status"])).await.unwrap(), Some(2));
}

#[tokio::test]
async fn two_databases_cannot_be_followed() {
    let (app, other) = (imported().await, TestApp::start().await);
    let refused = import::run(&options(&other, &["--from", &app.database.url, "--follow"])).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("in one database"), "{refused}");
}

#[tokio::test]
async fn transactions_that_change_one_membership_take_turns() {
    let app = followed().await;
    let (mut first, mut second) = (connect(&app).await, connect(&app).await);
    let mut a = first.begin().await.unwrap();
    a.execute(ENDS_MEMBERSHIP).await.unwrap();
    // Django would refuse a role without membership. Its tables do not.
    let role = "insert into communities_community_moderators (community_id, user_id) values (2, 5)";
    let waiting = tokio::spawn(async move { second.execute(role).await.map(|_| ()) });
    let waits = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query like '%_moderators (community%' and pid <> pg_backend_pid())";
    let is_waiting = async { while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&app.pool).await.unwrap() {} };
    tokio::time::timeout(PATIENCE, is_waiting).await.expect("the second waits for the first");
    a.commit().await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(number(&app, "select count(*) from memberships where user_id = 5").await, 0, "who was removed stays so");
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn django_cannot_write_where_it_reads_in_views() {
    let app = imported().await;
    let mut connection = connect(&app).await;
    follow::begin(&mut connection, true).await.unwrap();
    let refused = views::make(&mut connection, "django_views").await.unwrap_err().to_string();
    assert!(refused.contains("import-django --follow first"), "{refused}");
    follow::begin(&mut connection, false).await.unwrap();
    views::make(&mut connection, "django_views").await.unwrap();
    let refused = follow::begin(&mut connection, true).await.unwrap_err().to_string();
    assert!(refused.contains("django-views --drop first"), "{refused}");
    follow::begin(&mut connection, false).await.unwrap();
}

#[tokio::test]
async fn one_statement_for_many_rows_fails_for_those_alone_that_cannot_follow() {
    let app = followed().await;
    app.sql("alter table users add constraint no_grove check (username <> 'grove-anew')").await;
    app.sql("update \"user\" set username = username || '-anew' where id in (2, 5, 7)").await;
    let names: Vec<String> = sqlx::query_scalar("select username from users where id in (2, 5, 7) order by id")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    assert_eq!(names, ["birch-anew", "ember-anew", "grove"]);
    let behind = status(&app).await;
    assert_eq!(behind.failures.len(), 1);
    assert_eq!(behind.failures[0].id, 7);
    app.sql("alter table users drop constraint no_grove").await;
    follow::begin(&mut connect(&app).await, false).await.unwrap();
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn an_article_that_is_public_no_more_is_closed_in_the_open() {
    let app = followed().await;
    let closed =
        "select count(*) from community_articles p join communities c on c.id = p.community_id and c.kind = 'open'
                  where p.removed_at is not null";
    app.sql("update articles_article set submission_type = 'Private' where id in (1, 5)").await;
    assert_eq!(number(&app, &format!("{closed} and article_id = 1")).await, 1);
    assert_eq!(number(&app, closed).await, 1, "a discussion of Django's own keeps the place of 5");
    app.sql("update articles_article set submission_type = 'Public' where id in (1, 5)").await;
    assert_eq!(number(&app, closed).await, 0);
    assert!(status(&app).await.is_in_step);
}
