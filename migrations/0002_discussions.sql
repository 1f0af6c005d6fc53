-- What people write. References to the directory refuse a delete instead of cascading: a scientist's comment never vanishes
-- because another program removed a row, and never without an event.

-- The name that stands for a person on one article of one community. It is random and says nothing of the person.
create table pseudonyms (
    id           bigint generated always as identity primary key,
    community_id bigint not null,
    article_id   bigint not null,
    user_id      bigint not null references users,
    name         text not null,
    created_at   timestamptz not null default now(),
    constraint pseudonyms_place foreign key (community_id, article_id) references community_articles,
    constraint pseudonyms_one_each unique (community_id, article_id, user_id),
    -- Two people under one name could not be told apart.
    constraint pseudonyms_name unique (community_id, article_id, name)
);
create index pseudonyms_user on pseudonyms (user_id);

create table discussions (
    id            bigint generated always as identity primary key,
    community_id  bigint not null,
    article_id    bigint not null,
    author_id     bigint not null references users,
    -- Set when it was written under a pseudonym: the author is then shown by that name for good.
    pseudonym_id  bigint references pseudonyms,
    topic         text not null,
    text          text not null,
    is_resolved   boolean not null default false,
    -- Comments that are not deleted. Kept in the transaction of each change; its row lock gives the events of a discussion
    -- the order of their commits.
    comment_count bigint not null default 0 constraint discussions_comment_count check (comment_count >= 0),
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    -- A tombstone: topic and text are emptied, the comments stay.
    deleted_at    timestamptz,
    constraint discussions_place foreign key (community_id, article_id) references community_articles,
    constraint discussions_topic_length check (case when deleted_at is null then char_length(topic) between 1 and 200 else topic = '' end),
    constraint discussions_text_length check (case when deleted_at is null then char_length(text) between 1 and 50000 else text = '' end)
);
-- The page of an article in a community, newest first.
create index discussions_page on discussions (community_id, article_id, id desc);
create index discussions_author on discussions (author_id);
create index discussions_pseudonym on discussions (pseudonym_id) where pseudonym_id is not null;

create table comments (
    id            bigint generated always as identity primary key,
    discussion_id bigint not null references discussions,
    -- The first comment of this branch; its own id where the comment starts one.
    root_id       bigint not null,
    parent_id     bigint,
    depth         smallint not null constraint comments_depth check (depth between 1 and 3),
    author_id     bigint not null references users,
    pseudonym_id  bigint references pseudonyms,
    text          text not null,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    deleted_at    timestamptz,
    constraint comments_text_length check (case when deleted_at is null then char_length(text) between 1 and 50000 else text = '' end),
    constraint comments_root check ((parent_id is null) = (root_id = id) and (parent_id is null) = (depth = 1)),
    -- For the foreign keys below: a parent and a root are in the same discussion, whoever writes the row.
    constraint comments_in_discussion unique (discussion_id, id),
    constraint comments_parent foreign key (discussion_id, parent_id) references comments (discussion_id, id),
    constraint comments_root_in_discussion foreign key (discussion_id, root_id) references comments (discussion_id, id)
);
-- A page is some roots in order, with all that hangs below them.
create index comments_roots on comments (discussion_id, id) where parent_id is null;
create index comments_branch on comments (discussion_id, root_id, id);
create index comments_parent on comments (discussion_id, parent_id) where parent_id is not null;
create index comments_author on comments (author_id);
create index comments_pseudonym on comments (pseudonym_id) where pseudonym_id is not null;
