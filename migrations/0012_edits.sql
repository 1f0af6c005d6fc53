-- When a text was edited, and when and by whom a discussion was resolved. Until now `updated_at` stood for all of that.
--
-- `updated_at` still moves with every change of the thing, resolving included. It is the version that a client names in
-- `If-Match` or `if_updated_at`.

-- A comment needs no column: nothing but an edit of its text moves its `updated_at`, so that is when it was edited if it is not
-- `created_at`.

alter table discussions
    -- When the author last changed topic or text; null until then.
    add column edited_at timestamptz,
    -- When it was resolved; null while it is not.
    add column resolved_at timestamptz,
    -- Who resolved it; null while it is not resolved, and if the account is gone. An admin may resolve what others wrote, and
    -- that must not keep an account from being deleted.
    add column resolved_by bigint references users on delete set null,
    -- Set when they resolved it under a pseudonym: they are then shown by that name for good, as authors are.
    add column resolved_pseudonym_id bigint references pseudonyms;
create index discussions_resolved_by on discussions (resolved_by) where resolved_by is not null;
create index discussions_resolved_pseudonym on discussions (resolved_pseudonym_id) where resolved_pseudonym_id is not null;

-- Rows from before. In a discussion that is not resolved the last change is taken for an
-- edit, although it may have been reopened. In a resolved one the last change is taken for its resolving, although its text may
-- have been edited before or after. Nothing tells more, nor who resolved it.
update discussions set edited_at = updated_at where updated_at <> created_at and not is_resolved;
update discussions set resolved_at = updated_at where is_resolved;

alter table discussions add constraint discussions_resolved
    check (is_resolved or (resolved_at is null and resolved_by is null and resolved_pseudonym_id is null));

-- A trigger sets the times, because an older release beside this schema does not know the columns: it would leave the wrong
-- person as the one who resolved. It fires only for statements that name these columns, so the update of a `comment_count`
-- costs nothing more. The new time is the `updated_at` that the statement sets.
create function discussion_edited() returns trigger
language plpgsql as $$
begin
    if new.deleted_at is null and (new.topic, new.text) is distinct from (old.topic, old.text) then
        new.edited_at := new.updated_at;
    end if;
    if new.is_resolved and not old.is_resolved then
        new.resolved_at := new.updated_at;
    elsif not new.is_resolved then
        new.resolved_at := null;
        new.resolved_by := null;
    elsif new.resolved_by is null and old.resolved_by is not null then
        -- The account is gone, which changes what is shown.
        new.updated_at := greatest(clock_timestamp(), old.updated_at + interval '1 microsecond');
    end if;
    if new.resolved_by is null then
        new.resolved_pseudonym_id := null;
    end if;
    return new;
end $$;
create trigger discussions_edited before update of topic, text, is_resolved, resolved_by on discussions
    for each row execute function discussion_edited();

-- The event for a resolver whose account is gone. Nobody but the foreign key sets resolved_by alone to null, so no program
-- writes the event.
create function resolver_gone() returns trigger
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
create trigger discussions_resolver_gone after update of resolved_by on discussions
    for each row when (old.resolved_by is not null and new.resolved_by is null and new.is_resolved and new.deleted_at is null)
    execute function resolver_gone();

-- As in 0010, and also where a discussion shows the user as the one who resolved it.
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
    ) shown;
    if found then
        -- See 0006: nobody else wakes the relay.
        perform pg_notify('outbox', '');
    end if;
    return null;
end $$;

-- The rights and the schema of 0008, and the plan of 0010: `create or replace` has dropped them.
do $$
declare
    called text;
begin
    foreach called in array array['author_changed()', 'resolver_gone()'] loop
        execute format('alter function %s security definer set search_path = pg_catalog, %I, pg_temp', called, current_schema());
        execute format('revoke execute on function %s from public', called);
    end loop;
end $$;
alter function author_changed()
    set plan_cache_mode = force_generic_plan
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off;

-- The person who resolved a discussion, as `row(id, username, avatar_url, pseudonym)`. Under a pseudonym the name is the
-- pseudonym. Each kind of name is looked up by itself, so that a pseudonym that is not found can never show the person.
--
-- A function, because a list starts the subqueries of its columns even if no row needs them, and few discussions are resolved.
create function shown_resolver(resolver bigint, name_id bigint, out id bigint, out username text, out avatar_url text, out pseudonym text)
language plpgsql stable as $$
begin
    if name_id is null then
        select u.id, u.username, u.avatar_url into id, username, avatar_url from users u where u.id = resolver;
    else
        select resolver, p.name, p.name into id, username, pseudonym from pseudonyms p where p.id = name_id;
    end if;
end $$;

-- Whether a viewer may read a community: of this kind, with this role in it (null for no member), signed in as this user (null
-- for nobody), whose account is in use or not. Statements that read discussions and comments ask it before they read any, so
-- that a refusal takes no longer for a thread of a thousand comments than for none. It is `CommunityAccess::may_read` of the
-- server, which says how to refuse; a test compares the two.
--
-- It has no search_path of its own, as it names no table, and PostgreSQL inlines it only without.
create function may_read(kind text, role text, viewer bigint, viewer_is_active boolean) returns boolean
language sql immutable parallel safe
return (kind = 'public' or role is not null) and (viewer is null or viewer_is_active is true);
