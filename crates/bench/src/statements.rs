//! The scripts for pgbench: the handlers' own statements from `.sqlx`, in the handlers' order.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use serde_json::Value;

/// The member of many communities, see `member::seed`. The ids of what they read begin here too.
pub(crate) const READER: u32 = 1_500_000_000;

/// pgbench's scripts.
pub(crate) struct Scripts {
    /// The list of discussions, with the statement of its handler.
    pub(crate) list: String,
    /// The same for nobody: without read states, votes and follows.
    pub(crate) list_of_guest: String,
    /// Everything that is unread for [`READER`] of what they follow, with the statement of its handler.
    pub(crate) unread: String,
    /// Their newest notifications.
    pub(crate) notifications: String,
    /// What they follow.
    pub(crate) follows: String,
    /// Whom they may mention, of many whose names begin alike.
    pub(crate) completion: String,
    /// A new comment, with the two statements of its handler.
    pub(crate) comment: String,
    /// A new comment in a plain transaction of five statements, one round trip each.
    pub(crate) five: String,
}

impl Scripts {
    /// The scripts for the queries in the folder `.sqlx` of `root`.
    pub(crate) fn new(root: &Path) -> anyhow::Result<Self> {
        let text = "Some words of a comment. ".repeat(9);
        // The colons have spaces around them, because pgbench takes :2 for a variable.
        let author = r#"{"id" : 1, "username" : "writer", "avatar_url" : null}"#;
        let payload = format!(
            r#"{{"type" : "new_comment", "community_id" : 2, "article_id" : 2, "text" : "{text}", "author" : {author}}}"#
        );
        let set_user = r"\set user 1";
        let set_both = "\\set user 1\n\\set discussion 1000000000 + random(0, 199)";
        let queries = queries(root)?;

        let list = |user| queries.statement("with placements as (", &["2", "2", user, "null", "null", "20", "1048576"]);
        let (list, list_of_guest) = (list(":user")?, list("null")?);
        let notifications = ["null", "false", "null", "20"];
        let notifications =
            queries.statement("left(case when n.comment_id", &[&[":user"][..], &notifications].concat())?;
        let follows = ["null", "null", "null", "0", "0", "0", "20"];
        let follows = queries.statement("articles_of_member as", &[&[":user"][..], &follows].concat())?;
        let completion = queries.statement("with few as materialized", &[":user", "'bench-1'", "20", "1000"])?;
        let unread = ["null", "null", "null", "null", "20", "true"];
        let unread = queries.statement("with unread as materialized", &[&[":user"][..], &unread].concat())?;
        // This statement reserves the comment's id, and the second one uses it.
        let access = "nextval(pg_get_serial_sequence('comments', 'id'))";
        let access = queries.statement(access, &[":discussion", ":user", "null"])?;
        let (quoted_text, quoted_payload) = (format!("'{text}'"), format!("'{payload}'"));
        // The name and picture must be those that `database::seed` gives the author, because the statement compares them.
        let insert = [
            ":discussion",
            ":comment_id",
            "null",
            "null",
            "1",
            ":user",
            "null",
            &quoted_text,
            ":now",
            "'writer'",
            "null",
            "2",
            "'new_comment'",
            &quoted_payload,
            "2",
            "null",
            "null",
            "null",
            "'{}'",
        ];
        let insert = queries.statement("insert into comments (", &insert)?;
        let five = format!(
            "begin;
            update discussions set comment_count = comment_count + 1 where id = :discussion;
            with one as (select nextval(pg_get_serial_sequence('comments', 'id')) as id)
            insert into comments (id, discussion_id, root_id, depth, author_id, text) overriding system value
            select id, :discussion, id, 1, :user, '{text}' from one;
            insert into outbox (community_id, type, payload) values (2, 'new_comment', '{payload}');
            commit;"
        );
        let of_reader = |statement: &str| format!("\\set user {READER}\n{statement};\n");
        Ok(Self {
            list: format!("{set_user}\n{list};\n"),
            list_of_guest: format!("{list_of_guest};\n"),
            unread: of_reader(&unread),
            notifications: of_reader(&notifications),
            follows: of_reader(&follows),
            completion: of_reader(&completion),
            comment: format!("{set_both}\n{access} \\gset\n{insert};\n"),
            five: format!("{set_both}\n{five}\n"),
        })
    }
}

/// The statement of a script that sets the variable `user` first, with its value in it.
pub(crate) fn for_user(script: &str, user: u32) -> String {
    let statement = script.lines().filter(|line| !line.starts_with('\\'));
    statement.collect::<Vec<_>>().join("\n").replace(":user", &user.to_string())
}

struct Queries(Vec<Value>);

fn queries(root: &Path) -> anyhow::Result<Queries> {
    let mut queries = Vec::new();
    for entry in fs::read_dir(root.join(".sqlx"))? {
        queries.push(serde_json::from_slice(&fs::read(entry?.path())?)?);
    }
    Ok(Queries(queries))
}

impl Queries {
    /// The only query that contains `words`, with its parameters replaced by `arguments`. Fails if the query in the code has
    /// another number of parameters now.
    fn statement(&self, words: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let contains = |query: &&Value| query["query"].as_str().is_some_and(|text| text.contains(words));
        let mut found = self.0.iter().filter(contains);
        let query = found.next().with_context(|| format!("no query in .sqlx contains: {words}"))?;
        ensure!(found.next().is_none(), "several queries in .sqlx contain: {words}");
        let parameters = query["describe"]["parameters"]["Left"].as_array().map_or(0, Vec::len);
        ensure!(
            parameters == arguments.len(),
            "the query that contains {words:?} has {parameters} parameters, and the benchmark gives {}",
            arguments.len()
        );
        // pgbench takes the colons in the form of a time for the beginnings of variables.
        let mut text =
            plain_names(query["query"].as_str().unwrap_or_default()).replace("HH24:MI:SS", r#"HH24":"MI":"SS"#);
        for (index, argument) in arguments.iter().enumerate().rev() {
            text = text.replace(&format!("${}", index + 1), argument);
        }
        Ok(text)
    }
}

/// Removes sqlx's annotations from column names: "kind: Kind" and "id?" become "kind" and "id".
fn plain_names(query: &str) -> String {
    let parts = query.split('"').enumerate();
    let parts = parts
        .map(|(index, part)| if index % 2 == 1 { part.split(['?', '!', ':']).next().unwrap_or(part) } else { part });
    parts.collect::<Vec<_>>().join("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handlers_statements_are_there_with_these_parameters() {
        let scripts = Scripts::new(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))).unwrap();
        for script in [
            scripts.list,
            scripts.list_of_guest,
            scripts.unread,
            scripts.notifications,
            scripts.follows,
            scripts.completion,
            scripts.comment,
            scripts.five,
        ] {
            let is_parameter = |rest: &str| rest.starts_with(|next: char| next.is_ascii_digit());
            assert!(!script.split('$').skip(1).any(is_parameter), "{script}");
            let is_variable = |rest: &&str| rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
            for variable in script.replace("::", "").split(':').skip(1).filter(is_variable) {
                let is_set = ["user", "discussion", "comment_id", "now"].iter().any(|name| variable.starts_with(name));
                assert!(is_set, ":{variable} in {script}");
            }
        }
    }

    #[test]
    fn names() {
        assert_eq!(
            plain_names(r#"select a as "b?", c as "d!: Json<E>", f from "g""#),
            r#"select a as "b", c as "d", f from "g""#
        );
    }
}
