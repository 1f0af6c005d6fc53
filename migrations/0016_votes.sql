-- Votes on discussions and comments, up (1) or down (-1). A vote of 0 is no row.
--
-- The sums stand in the rows of discussions and comments, so that reading a page costs nothing more. Votes are written in batches
-- (`votes::batch`), each of which locks such a row once, so that hundreds of votes a second on one comment are few updates.
--
-- No foreign key leads to users: a vote counts on when its account is deleted, and must not keep an account from being deleted.

alter table discussions
    add column upvotes bigint not null default 0 constraint discussions_upvotes check (upvotes >= 0),
    add column downvotes bigint not null default 0 constraint discussions_downvotes check (downvotes >= 0);
alter table comments
    add column upvotes bigint not null default 0 constraint comments_upvotes check (upvotes >= 0),
    add column downvotes bigint not null default 0 constraint comments_downvotes check (downvotes >= 0);

create table discussion_votes (
    discussion_id bigint not null references discussions on delete cascade,
    user_id       bigint not null,
    value         smallint not null constraint discussion_votes_value check (value in (1, -1)),
    primary key (discussion_id, user_id)
);
create table comment_votes (
    comment_id bigint not null references comments on delete cascade,
    user_id    bigint not null,
    value      smallint not null constraint comment_votes_value check (value in (1, -1)),
    primary key (comment_id, user_id)
);
-- For exporting and erasing what belongs to a person.
create index discussion_votes_user on discussion_votes (user_id);
create index comment_votes_user on comment_votes (user_id);

-- As in 0012, with the votes.
create or replace function resolver_gone() returns trigger
language plpgsql as $$
declare
    wire constant text := 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"';
begin
    insert into outbox (community_id, type, payload)
    select new.community_id, 'updated_discussion', json_build_object(
        'type', 'updated_discussion',
        'community_id', new.community_id,
        'article_id', new.article_id,
        'discussion_id', new.id,
        'topic', new.topic,
        'text', new.text,
        'author', case
            when p.id is not null then json_build_object('id', null, 'username', p.name, 'avatar_url', null)
            else json_build_object('id', u.id, 'username', u.username, 'avatar_url', u.avatar_url)
        end,
        'is_resolved', new.is_resolved,
        'comment_count', new.comment_count,
        'upvotes', new.upvotes,
        'downvotes', new.downvotes,
        'edited_at', to_char(new.edited_at at time zone 'utc', wire),
        'resolved_at', to_char(new.resolved_at at time zone 'utc', wire),
        'resolved_by', null,
        'timestamp', to_char(new.updated_at at time zone 'utc', wire))
    -- The lock is that of 0010: a rename of the author comes after this event.
    from (select id, username, avatar_url from users where id = new.author_id for share) u
    left join pseudonyms p on p.id = new.pseudonym_id;
    -- See 0006: nobody else wakes the relay.
    perform pg_notify('outbox', '');
    return null;
end $$;
-- `create or replace` has dropped the rights and the schema of 0008.
do $$
begin
    execute format('alter function resolver_gone() security definer set search_path = pg_catalog, %I, pg_temp', current_schema());
    revoke execute on function resolver_gone() from public;
end $$;
