-- A summary has one type of event. Its deletion is the one without a text, and redacts the older events of that summary, as those of
-- discussions and comments do (0011). A summary may be written again afterwards, and deleted again.

create index outbox_summary on outbox ((payload ->> 'community_id'), (payload ->> 'article_id'), event_id)
    where event_id is not null and redacted_by is null and type = 'updated_summary';

-- Whether an event deletes a summary. A redacted event has no text either, but says when that was deleted.
create function is_summary_deletion(type text, payload json) returns boolean
language sql immutable parallel safe
return type = 'updated_summary' and payload ->> 'text' is null and payload -> 'deleted_at' is null;

-- As in 0030, with the deletions of summaries.
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
               o.payload ->> 'community_id' as community, o.payload ->> 'article_id' as article,
               jsonb_build_object('text', null, 'author', null, 'deleted_at', o.payload -> 'timestamp') as tombstone
        from outbox o
        where o.event_id > after and o.event_id <= window_end
          and (o.type in ('deleted_comment', 'deleted_discussion') or is_summary_deletion(o.type, o.payload))
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
        elsif deletion.type = 'updated_summary' then
            update outbox o set payload = (o.payload::jsonb || deletion.tombstone)::json, redacted_by = deletion.event_id
            from (
                select e.id from outbox e
                where e.payload ->> 'community_id' = deletion.community and e.payload ->> 'article_id' = deletion.article
                  and e.event_id < deletion.event_id and e.redacted_by is null and e.type = 'updated_summary'
                  -- An earlier deletion shows nothing.
                  and e.payload ->> 'text' is not null
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

-- As in 0011, with the deletions of summaries. That an event is of their type is enough here: it costs a look.
create or replace function assign_event_ids(batch integer)
returns table (event_id bigint, community_id bigint, user_id bigint, payload text, created_at timestamptz)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    head    bigint;
    given   bigint;
    deletes boolean;
    through bigint;
begin
    perform leap_if_new_history();
    -- Nothing to do costs no lock and no write.
    if not exists (select from outbox where event_id is null)
        and not exists (select from event_head where redacted_through < last_assigned) then
        return;
    end if;
    select last_assigned, redacted_through into strict head, through from event_head for update;
    with waiting as (
        select w.id, head + row_number() over (order by w.id) as number
        from (select id from outbox where event_id is null order by id limit batch) w
    ), numbered as (
        update outbox o set event_id = waiting.number
        from waiting where o.id = waiting.id
        returning o.type
    )
    select count(*), coalesce(bool_or(n.type in ('deleted_comment', 'deleted_discussion', 'updated_summary')), false) into strict given, deletes
    from numbered n;
    if given = 0 and through >= head then
        -- Another relay did it meanwhile.
        return;
    end if;
    if deletes or through < head then
        through := redact_deleted(through, head + given, 50);
    else
        through := head + given;
    end if;
    if given > 0 and current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'local', true);
    end if;
    update event_head set last_assigned = head + given, redacted_through = through;
    if given > 0 then
        -- One listener-wake a batch, from the relay's transaction only: NOTIFY serialises the commits that use it.
        perform pg_notify('events', (head + given)::text);
        -- Read after the redaction: an event may be in one batch with its deletion.
        return query
            select o.event_id, o.community_id, o.user_id, o.payload::text, o.created_at
            from outbox o where o.event_id > head and o.event_id <= head + given order by o.event_id;
    end if;
end $$;

-- `create or replace` has dropped the schema of 0008. The first has none, as it names no table, and PostgreSQL inlines it only without.
do $$
declare
    called text;
begin
    foreach called in array array['redact_deleted(bigint, bigint, integer)', 'assign_event_ids(integer)'] loop
        execute format('alter function %s set search_path = pg_catalog, %I, pg_temp', called, current_schema());
    end loop;
end $$;
