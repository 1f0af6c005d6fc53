-- Notifications: each is one thing that concerns one user. They are written in the transaction of their cause.
--
-- Where people write under pseudonyms, nothing may tell that two names are one person. So each person whom a text addresses, by whatever
-- name, is one row, one id and one number in the order of events there, even if nobody is notified: because the writer is addressed,
-- because two of the names are one person, or because somebody has left or wants silence. Such a row has no user.

create table notifications (
    id            bigint generated always as identity primary key,
    -- Who is notified; null for nobody.
    user_id       bigint references users on delete cascade,
    kind          text not null constraint notifications_kind check (kind in ('mention', 'reply', 'comment', 'discussion', 'moderation')),
    community_id  bigint not null,
    article_id    bigint not null,
    discussion_id bigint not null references discussions on delete cascade,
    -- The comment that it is about; null where it is about the discussion's own text. Who wrote the text, and under which name, stands
    -- in the text's own row alone.
    comment_id    bigint,
    -- Why a moderator removed the text; null for the other kinds, and if no reason was given.
    reason        text,
    is_read       boolean not null default false,
    -- When the job that sends mail took it; null until then.
    emailed_at    timestamptz,
    created_at    timestamptz not null default clock_timestamp(),
    constraint notifications_reason check (reason is null or kind = 'moderation')
);
-- One text is one notification for a person, and its removal may be another one. It is the index for the withdrawal and for the foreign
-- keys too.
create unique index notifications_one_each on notifications (discussion_id, coalesce(comment_id, 0), user_id, (kind = 'moderation'));
-- The list, newest first.
create index notifications_list on notifications (user_id, id desc) where user_id is not null;
-- The list of the unread ones, and their number.
create index notifications_unread on notifications (user_id, id desc) include (community_id) where user_id is not null and not is_read;
-- What the job that sends mail looks at (docs/operations.md).
create index notifications_unmailed on notifications (id) where user_id is not null and not is_read and emailed_at is null;

-- Whether people write, or have written, under pseudonyms on an article of a community.
create function has_pseudonyms(community bigint, article bigint) returns boolean
language sql stable
begin atomic
    select exists (select from pseudonyms where community_id = community and article_id = article);
end;

-- Deletes notifications and tells their users. The order of the events is by chance, as it must not tell who has which.
create function withdraw_notifications(withdrawn bigint[]) returns void
language sql as $$
    with gone as (
        delete from notifications n where n.id = any(withdrawn) returning n.id, n.user_id, n.community_id
    )
    insert into outbox (community_id, user_id, type, payload)
    select case when g.user_id is null then 0 else g.community_id end, g.user_id,
           case when g.user_id is null then 'nothing' else 'notifications_withdrawn' end,
           case when g.user_id is null then json_build_object('type', 'nothing') else json_build_object(
               'type', 'notifications_withdrawn',
               'user_id', g.user_id,
               'community_id', g.community_id,
               'ids', json_build_array(g.id),
               'timestamp', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
           end
    from gone g
    order by random()
$$;

-- A deleted text takes its notifications with it, also where an older release beside this schema deletes it. What tells its author
-- that it was removed stays.
create function text_deleted() returns trigger
language plpgsql as $$
begin
    if tg_table_name = 'comments' then
        perform withdraw_notifications(array_agg(n.id)) from notifications n
        where n.discussion_id = new.discussion_id and coalesce(n.comment_id, 0) = new.id and n.kind <> 'moderation';
    else
        perform withdraw_notifications(array_agg(n.id)) from notifications n
        where n.discussion_id = new.id and coalesce(n.comment_id, 0) = 0 and n.kind <> 'moderation';
    end if;
    return null;
end $$;
create trigger comments_text_deleted after update of deleted_at on comments
    for each row when (old.deleted_at is null and new.deleted_at is not null) execute function text_deleted();
create trigger discussions_text_deleted after update of deleted_at on discussions
    for each row when (old.deleted_at is null and new.deleted_at is not null) execute function text_deleted();

-- See 0008. The server calls the first one too, by its own role and with that role's rights.
do $$
declare
    path text := format('pg_catalog, %I, pg_temp', current_schema());
begin
    execute format('alter function withdraw_notifications(bigint[]) set search_path = %s', path);
    execute format('alter function text_deleted() security definer set search_path = %s', path);
    revoke execute on function text_deleted() from public;
end $$;
