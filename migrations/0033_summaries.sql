-- Summaries: what the admins of a community say of the discussions on an article there. One text, with its earlier texts.

create table summaries (
    community_id bigint not null,
    article_id   bigint not null,
    -- Who wrote this text; null where there is none.
    author_id    bigint references users,
    -- Set when it was written under a pseudonym, as in discussions.
    pseudonym_id bigint references pseudonyms,
    -- Null if the summary is deleted, and inside the transaction that writes the first one.
    text         text,
    -- The number of the last change, deletions included. The row stays after a deletion, so that the numbers go on. Its lock gives
    -- the events of a summary the order of their commits.
    revision     bigint not null,
    -- When the first text since the last deletion was written.
    created_at   timestamptz not null default now(),
    -- When the last change was made. It is the version that a client names in `If-Match` or `if_updated_at`.
    updated_at   timestamptz not null default now(),
    primary key (community_id, article_id),
    constraint summaries_place foreign key (community_id, article_id) references community_articles,
    constraint summaries_text_length check (char_length(text) between 1 and 50000),
    constraint summaries_author check ((text is null) = (author_id is null) and (text is not null or pseudonym_id is null))
);
-- For a rename, and for the foreign keys.
create index summaries_author on summaries (author_id) where author_id is not null;
create index summaries_pseudonym on summaries (pseudonym_id) where pseudonym_id is not null;

-- The texts before the present one. A deletion erases them.
create table summary_revisions (
    community_id bigint not null,
    article_id   bigint not null,
    revision     bigint not null,
    author_id    bigint not null references users,
    pseudonym_id bigint references pseudonyms,
    text         text not null,
    -- When this text was written.
    created_at   timestamptz not null,
    primary key (community_id, article_id, revision),
    constraint summary_revisions_summary foreign key (community_id, article_id) references summaries,
    constraint summary_revisions_text_length check (char_length(text) between 1 and 50000)
);
create index summary_revisions_author on summary_revisions (author_id);
create index summary_revisions_pseudonym on summary_revisions (pseudonym_id) where pseudonym_id is not null;

-- As in 0030, and also where a summary, or an earlier text of one, shows the user by name.
create or replace function author_changed() returns trigger
language plpgsql as $$
begin
    if old.username is not distinct from new.username and old.avatar_url is not distinct from new.avatar_url then
        return null;
    end if;
    insert into outbox (community_id, type, payload)
    select shown.community_id, 'author_changed', json_build_object(
        'type', 'author_changed',
        'community_id', shown.community_id,
        'author', json_build_object('id', new.id, 'username', new.username, 'avatar_url', new.avatar_url),
        'timestamp', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
    from (
        select d.community_id from discussions d
        where d.author_id = new.id and d.pseudonym_id is null and d.deleted_at is null
        union
        select d.community_id from discussions d
        where d.resolved_by = new.id and d.resolved_pseudonym_id is null and d.deleted_at is null
        union
        select d.community_id from comments k join discussions d on d.id = k.discussion_id
        where k.author_id = new.id and k.pseudonym_id is null and k.deleted_at is null
        union
        select d.community_id from discussions d where d.mentioned_users @> array[new.id] and d.deleted_at is null
        union
        select d.community_id from comments k join discussions d on d.id = k.discussion_id
        where k.mentioned_users @> array[new.id] and k.deleted_at is null
        union
        select s.community_id from summaries s where s.author_id = new.id and s.pseudonym_id is null
        union
        select r.community_id from summary_revisions r where r.author_id = new.id and r.pseudonym_id is null
    ) shown;
    if found then
        -- See 0006: nobody else wakes the relay.
        perform pg_notify('outbox', '');
    end if;
    return null;
end $$;

-- `create or replace` has dropped the rights and the schema of 0008, and the plan of 0010.
do $$
begin
    execute format('alter function author_changed() security definer set search_path = pg_catalog, %I, pg_temp', current_schema());
    revoke execute on function author_changed() from public;
end $$;
alter function author_changed()
    set plan_cache_mode = force_generic_plan
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off;
