//! Which tables and columns of Django are copied, and to which tables of the mirror.

/// A table of the mirror.
pub(super) struct Table {
    /// Its name in the schema `django`, and in reports.
    pub(super) name: &'static str,
    /// Its columns with their types. The key comes first.
    columns: &'static str,
    /// How many of the columns are the key.
    key: usize,
    /// Where its rows come from.
    pub(super) sources: &'static [Source],
    /// Whether our table of the same name has the same ids.
    pub(super) keeps_ids: bool,
}

/// A table of Django.
pub(super) struct Source {
    /// Its name. [`FLAGS`] stands for the table of flags.
    pub(super) table: &'static str,
    /// What follows the table in the statement.
    then: &'static str,
    /// The columns of the mirror that are not columns of the table, with their values.
    computed: &'static [(&'static str, &'static str)],
    /// Other columns that the statement needs, with their tables.
    also: &'static [(&'static str, &'static str)],
}

/// The table of flags, whose name has changed.
pub(super) const FLAGS: &str = "articles_userflag";
/// Its new name.
pub(super) const NEW_FLAGS: &str = "articles_entityflag";

const fn plain(table: &'static str) -> Source {
    Source { table, then: "", computed: &[], also: &[] }
}

/// All tables, in the order in which they are merged: a row comes after those that it refers to.
pub(super) const TABLES: [Table; 13] = [
    Table {
        name: "users",
        columns: "id bigint, username text, email text, password text, is_active boolean, date_joined timestamptz, \
                  profile_pic_url text",
        key: 1,
        sources: &[plain("user")],
        keeps_ids: true,
    },
    Table {
        name: "communities",
        columns: "id bigint, name text, slug text, type text, created_at timestamptz",
        key: 1,
        sources: &[plain("communities_community")],
        keeps_ids: true,
    },
    Table {
        name: "articles",
        columns: "id bigint, title text, slug text, submission_type text, submitter_id bigint, created_at timestamptz",
        key: 1,
        sources: &[plain("articles_article")],
        keeps_ids: true,
    },
    Table {
        name: "community_articles",
        columns: "id bigint, article_id bigint, community_id bigint, is_pseudonymous boolean, submitted_at timestamptz",
        key: 1,
        sources: &[plain("communities_communityarticle")],
        keeps_ids: false,
    },
    Table {
        name: "memberships",
        columns: "id bigint, joined_at timestamptz, community_id bigint, user_id bigint",
        key: 1,
        sources: &[plain("communities_membership")],
        keeps_ids: false,
    },
    Table {
        name: "roles",
        columns: "kind text, id bigint, community_id bigint, user_id bigint",
        key: 2,
        sources: &[
            Source { table: "communities_community_admins", then: "", computed: &[("kind", "'admin'")], also: &[] },
            Source {
                table: "communities_community_moderators",
                then: "",
                computed: &[("kind", "'moderator'")],
                also: &[],
            },
            Source {
                table: "communities_community_reviewers",
                then: "",
                computed: &[("kind", "'reviewer'")],
                also: &[],
            },
        ],
        keeps_ids: false,
    },
    Table {
        name: "pseudonyms",
        columns: "id bigint, fake_name text, article_id bigint, user_id bigint, community_id bigint, identicon text",
        key: 1,
        sources: &[plain("articles_anonymousidentity")],
        keeps_ids: true,
    },
    Table {
        name: "discussions",
        columns: "id bigint, topic text, content text, created_at timestamptz, updated_at timestamptz, article_id bigint, \
                  author_id bigint, community_id bigint, deleted_at timestamptz, is_pseudonymous boolean, is_resolved boolean",
        key: 1,
        sources: &[plain("articles_discussion")],
        keeps_ids: true,
    },
    Table {
        name: "comments",
        columns: "id bigint, content text, created_at timestamptz, updated_at timestamptz, author_id bigint, \
                  discussion_id bigint, parent_id bigint, community_id bigint, is_pseudonymous boolean, is_deleted boolean",
        key: 1,
        sources: &[plain("articles_discussioncomment")],
        keeps_ids: true,
    },
    Table {
        name: "votes",
        columns: "id bigint, target text, object_id bigint, vote smallint, user_id bigint",
        key: 1,
        sources: &[Source {
            table: "articles_reaction",
            then: "join public.django_content_type t on t.id = s.content_type_id
                   where t.app_label = 'articles' and t.model in ('discussion', 'discussioncomment')",
            computed: &[("target", "case t.model when 'discussion' then 'discussion' else 'comment' end")],
            also: &[
                ("articles_reaction", "content_type_id"),
                ("django_content_type", "id"),
                ("django_content_type", "app_label"),
                ("django_content_type", "model"),
            ],
        }],
        keeps_ids: false,
    },
    Table {
        name: "subscriptions",
        columns: "id bigint, is_active boolean, article_id bigint, community_id bigint, user_id bigint",
        key: 1,
        sources: &[plain("articles_discussionsubscription")],
        keeps_ids: false,
    },
    Table {
        name: "flags",
        columns: "id bigint, flag_type text, entity_type text, entity_id bigint, user_id bigint",
        key: 1,
        sources: &[plain(FLAGS)],
        keeps_ids: false,
    },
    Table {
        name: "summaries",
        columns: "id bigint, content text, created_at timestamptz, updated_at timestamptz, community_article_id bigint, \
                  created_by_id bigint, last_updated_by_id bigint",
        key: 1,
        sources: &[plain("articles_discussionsummary")],
        keeps_ids: false,
    },
];

impl Table {
    /// Its columns as a table's definition has them.
    pub(super) fn definition(&self) -> &'static str {
        self.columns
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.columns.split(", ").filter_map(|column| column.split_once(' '))
    }

    /// The names of its columns after a prefix, separated by commas.
    pub(super) fn columns(&self, prefix: &str) -> String {
        list(prefix, self.each())
    }

    /// The names of its key's columns.
    pub(super) fn key(&self, prefix: &str) -> String {
        list(prefix, self.each().take(self.key))
    }

    /// The names of its other columns.
    pub(super) fn values(&self, prefix: &str) -> String {
        list(prefix, self.each().skip(self.key))
    }
}

fn list<'a>(prefix: &str, columns: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    columns.map(|(name, _)| format!("{prefix}{name}")).collect::<Vec<_>>().join(", ")
}

impl Source {
    /// The name of the table in this database, where flags have that name.
    pub(super) fn name<'a>(&self, flags: &'a str) -> &'a str
    where
        'static: 'a,
    {
        if self.table == FLAGS { flags } else { self.table }
    }

    fn computed(&self, column: &str) -> Option<&'static str> {
        self.computed.iter().find(|(name, _)| *name == column).map(|(_, value)| *value)
    }

    /// The columns that its statement reads, with their tables.
    pub(super) fn needs(&self, table: &Table) -> Vec<(&'static str, &'static str)> {
        let own = table.each().filter(|(column, _)| self.computed(column).is_none());
        own.map(|(column, _)| (self.table, column)).chain(self.also.iter().copied()).collect()
    }

    /// The statement that reads its rows as the table of the mirror has them.
    pub(super) fn select(&self, table: &Table, flags: &str) -> String {
        let values = table.each().map(|(column, sql_type)| {
            let value = self.computed(column).map_or_else(|| format!("s.{column}"), str::to_owned);
            format!("({value})::{sql_type}")
        });
        let values = values.collect::<Vec<_>>().join(", ");
        format!("select {values} from public.\"{}\" s {}", self.name(flags), self.then)
    }
}
