-- The mirror: what Django said last, row by row, in the columns that this program uses, under Django's names of them. The command
-- makes it in a schema of its own. It is safe to repeat.
--
-- A row is pending from when Django has changed it until it is merged. It is gone when Django has deleted it.

create schema if not exists django;

-- media_url, open_community_id, and what one run must tell the next.
create table if not exists django.settings (
    name  text primary key,
    value text not null
);

create table if not exists django.users (
    id              bigint primary key,
    username        text not null,
    email           text not null,
    password        text not null,
    is_active       boolean not null,
    date_joined     timestamptz not null,
    profile_pic_url text,
    -- The password that was merged last.
    merged_password text,
    is_pending      boolean not null default true,
    is_gone         boolean not null default false
);
create table if not exists django.communities (
    id         bigint primary key,
    name       text not null,
    slug       text not null,
    type       text not null,
    created_at timestamptz not null,
    is_pending boolean not null default true,
    is_gone    boolean not null default false
);
create table if not exists django.memberships (
    id           bigint primary key,
    joined_at    timestamptz not null,
    community_id bigint not null,
    user_id      bigint not null,
    is_pending   boolean not null default true,
    is_gone      boolean not null default false,
    -- It is new, and what the user has read there is not merged yet.
    is_unseen    boolean not null default true
);
-- The rows of communities_community_admins, _moderators and _reviewers. Each of the three counts its own ids.
create table if not exists django.roles (
    kind         text not null check (kind in ('admin', 'moderator', 'reviewer')),
    id           bigint not null,
    community_id bigint not null,
    user_id      bigint not null,
    is_pending   boolean not null default true,
    is_gone      boolean not null default false,
    primary key (kind, id)
);
create table if not exists django.articles (
    id              bigint primary key,
    title           text not null,
    slug            text not null,
    submission_type text not null,
    submitter_id    bigint,
    created_at      timestamptz not null,
    is_pending      boolean not null default true,
    is_gone         boolean not null default false
);
create table if not exists django.community_articles (
    id              bigint primary key,
    article_id      bigint not null,
    community_id    bigint not null,
    is_pseudonymous boolean not null,
    submitted_at    timestamptz not null,
    is_pending      boolean not null default true,
    is_gone         boolean not null default false
);
create table if not exists django.pseudonyms (
    id           bigint primary key,
    fake_name    text not null,
    article_id   bigint not null,
    user_id      bigint not null,
    community_id bigint,
    identicon    text,
    is_pending   boolean not null default true,
    is_gone      boolean not null default false
);
create table if not exists django.discussions (
    id              bigint primary key,
    topic           text not null,
    content         text not null,
    created_at      timestamptz not null,
    updated_at      timestamptz not null,
    article_id      bigint not null,
    author_id       bigint not null,
    community_id    bigint,
    deleted_at      timestamptz,
    is_pseudonymous boolean not null,
    is_resolved     boolean not null,
    is_pending      boolean not null default true,
    is_gone         boolean not null default false,
    -- It is new, and who has read it is not merged yet.
    is_unseen       boolean not null default true
);
create table if not exists django.comments (
    id              bigint primary key,
    content         text not null,
    created_at      timestamptz not null,
    updated_at      timestamptz not null,
    author_id       bigint not null,
    discussion_id   bigint not null,
    parent_id       bigint,
    community_id    bigint,
    is_pseudonymous boolean not null,
    is_deleted      boolean not null,
    is_pending      boolean not null default true,
    is_gone         boolean not null default false,
    is_unseen       boolean not null default true
);
-- articles_reaction, of discussions and comments only.
create table if not exists django.votes (
    id         bigint primary key,
    target     text not null check (target in ('discussion', 'comment')),
    object_id  bigint not null,
    vote       smallint not null,
    user_id    bigint not null,
    is_pending boolean not null default true,
    is_gone    boolean not null default false
);
create table if not exists django.subscriptions (
    id           bigint primary key,
    is_active    boolean not null,
    article_id   bigint not null,
    community_id bigint not null,
    user_id      bigint not null,
    -- It was merged as a follow.
    is_followed  boolean not null default false,
    is_pending   boolean not null default true,
    is_gone      boolean not null default false
);
create table if not exists django.flags (
    id          bigint primary key,
    flag_type   text not null,
    entity_type text not null,
    entity_id   bigint not null,
    user_id     bigint,
    is_pending  boolean not null default true,
    is_gone     boolean not null default false
)
-- There are many. No index has `is_pending`, and there is room in each page, so that merging one writes no index.
with (fillfactor = 50);
create table if not exists django.summaries (
    id                   bigint primary key,
    content              text not null,
    created_at           timestamptz not null,
    updated_at           timestamptz not null,
    community_article_id bigint not null,
    created_by_id        bigint,
    last_updated_by_id   bigint,
    is_pending           boolean not null default true,
    is_gone              boolean not null default false
);

-- The next pending rows.
create index if not exists users_pending on django.users (id) where is_pending;
create index if not exists communities_pending on django.communities (id) where is_pending;
create index if not exists memberships_pending on django.memberships (id) where is_pending;
create index if not exists roles_pending on django.roles (kind, id) where is_pending;
create index if not exists articles_pending on django.articles (id) where is_pending;
create index if not exists community_articles_pending on django.community_articles (id) where is_pending;
create index if not exists pseudonyms_pending on django.pseudonyms (id) where is_pending;
create index if not exists discussions_pending on django.discussions (id) where is_pending;
create index if not exists comments_pending on django.comments (id) where is_pending;
create index if not exists votes_pending on django.votes (id) where is_pending;
create index if not exists subscriptions_pending on django.subscriptions (id) where is_pending;
create index if not exists summaries_pending on django.summaries (id) where is_pending;
-- What belongs together, for merging.
create index if not exists users_username on django.users (username);
create index if not exists memberships_pair on django.memberships (user_id, community_id);
create index if not exists memberships_community on django.memberships (community_id);
create index if not exists roles_pair on django.roles (user_id, community_id);
create index if not exists community_articles_place on django.community_articles (community_id, article_id);
create index if not exists community_articles_article on django.community_articles (article_id);
create index if not exists pseudonyms_owner on django.pseudonyms (article_id, community_id, user_id);
create index if not exists discussions_unseen on django.discussions (id) where is_unseen;
create index if not exists discussions_author on django.discussions (author_id) where is_pseudonymous;
create index if not exists comments_discussion on django.comments (discussion_id);
create index if not exists comments_author on django.comments (author_id) where is_pseudonymous;
create index if not exists comments_parent on django.comments (parent_id) where parent_id is not null;
create index if not exists comments_unseen on django.comments (id) where is_unseen;
create index if not exists votes_object on django.votes (target, object_id, user_id);
create index if not exists subscriptions_owner on django.subscriptions (user_id, community_id, article_id);
create index if not exists flags_user on django.flags (user_id);
create index if not exists summaries_place on django.summaries (community_article_id);

-- What could not come as it was, and how it came. `kind` is the table of the mirror; for roles it is `admins`, `moderators` or
-- `reviewers`. A merge of a row replaces what is said of it here.
create table if not exists django.repairs (
    kind   text not null,
    id     bigint not null,
    repair text not null,
    detail text not null default '',
    primary key (kind, id, repair)
);
-- What did not come, and why.
create table if not exists django.refusals (
    kind   text not null,
    id     bigint not null,
    reason text not null,
    detail text not null default '',
    primary key (kind, id)
);
-- Users whose read state is to be merged, and meanwhile what is new (`kind` is the table of the mirror) and the newest things of Django.
create table if not exists django.read_work (
    user_id bigint primary key
);
create table if not exists django.new_things (
    kind text not null,
    id   bigint not null,
    primary key (kind, id)
);
create table if not exists django.newest_things (
    discussion_id bigint primary key,
    community_id  bigint not null,
    -- Null for no comment.
    comment_id    bigint,
    created_at    timestamptz not null
);
create index if not exists newest_things_community on django.newest_things (community_id, created_at);
-- The transaction that made a row that has vanished a tombstone here: see django.is_erased.
alter table django.discussions add column if not exists erased_by xid8;
alter table django.comments add column if not exists erased_by xid8;
create index if not exists discussions_erased on django.discussions (id) where erased_by is not null;
create index if not exists comments_erased on django.comments (id) where erased_by is not null;
create index if not exists memberships_unseen on django.memberships (user_id) where is_unseen;
