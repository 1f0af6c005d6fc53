-- What is shown of those whom a text mentions, and what happens to it at a rename and at a deletion.

-- Whom a text mentions, in the form of authors. Under a pseudonym the name is the pseudonym.
--
-- A function, because a list starts the subqueries of its columns even if no row needs them, and few texts mention somebody.
create function shown_mentions(people bigint[], names bigint[])
returns table (id bigint, username text, avatar_url text, pseudonym text)
language plpgsql stable rows 2 as $$
#variable_conflict use_column
begin
    return query
        select shown.id, shown.username, shown.avatar_url, shown.pseudonym
        from (
            select u.id, u.username, u.avatar_url, null::text as pseudonym, 1 as part, a.place
            from unnest(people) with ordinality as a (id, place) join users u on u.id = a.id
            union all
            select p.user_id, p.name, null, p.name, 2, a.place
            from unnest(names) with ordinality as a (id, place) join pseudonyms p on p.id = a.id
        ) shown
        order by shown.part, shown.place;
end $$;

-- As in 0012, and also where a text mentions the user by name.
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
    ) shown;
    if found then
        -- See 0006: nobody else wakes the relay.
        perform pg_notify('outbox', '');
    end if;
    return null;
end $$;

-- As in 0016, with the mentions.
create or replace function resolver_gone() returns trigger
language plpgsql as $$
declare
    wire constant text := 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"';
begin
    -- The locks are those of 0010: a rename of somebody who is shown comes after this event.
    perform from users u where u.id = any(new.mentioned_users) order by u.id for share;
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
        'mentions', (
            select coalesce(json_agg(case
                when s.pseudonym is null then json_build_object('id', s.id, 'username', s.username, 'avatar_url', s.avatar_url)
                else json_build_object('id', null, 'username', s.pseudonym, 'avatar_url', null)
            end), '[]')
            from shown_mentions(new.mentioned_users, new.mentioned_pseudonyms) s),
        'is_resolved', new.is_resolved,
        'comment_count', new.comment_count,
        'upvotes', new.upvotes,
        'downvotes', new.downvotes,
        'edited_at', to_char(new.edited_at at time zone 'utc', wire),
        'resolved_at', to_char(new.resolved_at at time zone 'utc', wire),
        'resolved_by', null,
        'timestamp', to_char(new.updated_at at time zone 'utc', wire))
    from (select id, username, avatar_url from users where id = new.author_id for share) u
    left join pseudonyms p on p.id = new.pseudonym_id;
    -- See 0006: nobody else wakes the relay.
    perform pg_notify('outbox', '');
    return null;
end $$;

-- What takes the mentions out of an event: nothing if it has none, as those of the releases before this one.
create function without_mentions(payload json) returns jsonb
language sql immutable parallel safe
return case when payload -> 'mentions' is null then '{}'::jsonb else '{"mentions": []}'::jsonb end;

-- As in 0011, and the mentions go too.
create or replace function redact_deleted(after bigint, through bigint, most integer) returns bigint
language plpgsql volatile as $$
declare
    -- Looks at a bounded number of events too.
    window_end bigint;
    deletion   record;
    done       integer;
    remaining  integer := most;
begin
    select coalesce(max(w.event_id), through) into strict window_end
    from (select o.event_id from outbox o where o.event_id > after and o.event_id <= through order by o.event_id limit 2000) w;
    for deletion in
        select o.event_id, o.type, o.payload ->> 'comment_id' as comment, o.payload ->> 'discussion_id' as discussion,
               jsonb_build_object('text', null, 'author', null, 'deleted_at', o.payload -> 'timestamp') as tombstone
        from outbox o
        where o.event_id > after and o.event_id <= window_end and o.type in ('deleted_comment', 'deleted_discussion')
        order by o.event_id
    loop
        -- A row that is locked is being pruned.
        if deletion.type = 'deleted_comment' then
            update outbox o set payload = (o.payload::jsonb || without_mentions(o.payload) || deletion.tombstone)::json, redacted_by = deletion.event_id
            from (
                select e.id from outbox e
                where e.payload ->> 'comment_id' = deletion.comment and e.event_id < deletion.event_id
                  and e.redacted_by is null and e.type in ('new_comment', 'updated_comment')
                order by e.event_id desc limit remaining
                for update skip locked
            ) older
            where o.id = older.id;
        else
            update outbox o
            set payload = (o.payload::jsonb || without_mentions(o.payload) || deletion.tombstone || '{"topic": null, "resolved_by": null}')::json, redacted_by = deletion.event_id
            from (
                select e.id from outbox e
                where e.payload ->> 'discussion_id' = deletion.discussion and e.event_id < deletion.event_id
                  and e.redacted_by is null and e.type in ('new_discussion', 'updated_discussion')
                order by e.event_id desc limit remaining
                for update skip locked
            ) older
            where o.id = older.id;
        end if;
        get diagnostics done = row_count;
        remaining := remaining - done;
        if remaining <= 0 then
            return deletion.event_id - 1;
        end if;
    end loop;
    return window_end;
end $$;

-- `create or replace` has dropped the rights and the schema of 0008, and the plan of 0010.
do $$
declare
    path   text := format('pg_catalog, %I, pg_temp', current_schema());
    called text;
begin
    foreach called in array array['author_changed()', 'resolver_gone()'] loop
        execute format('alter function %s security definer set search_path = %s', called, path);
        execute format('revoke execute on function %s from public', called);
    end loop;
    foreach called in array array['redact_deleted(bigint, bigint, integer)', 'shown_mentions(bigint[], bigint[])'] loop
        execute format('alter function %s set search_path = %s', called, path);
    end loop;
end $$;
alter function author_changed()
    set plan_cache_mode = force_generic_plan
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off;
