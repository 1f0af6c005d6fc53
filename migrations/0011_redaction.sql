-- Redaction. The outbox keeps events for days, and each event of a comment or discussion holds its text. When the thing is
-- deleted, its older events lose topic, text and people and say when it was deleted: a tombstone, as the table keeps it. They
-- stay events, because replies depend on them.
--
-- It happens where the deletion gets its number, in the same transaction, so it holds for every writer of deletions and for nodes
-- of the last release. All older events of the thing have their numbers by then: each change of a thing locks its row.

-- The deletion that redacted this event; null where it was not redacted. Publishers find here what to take out of Redis.
alter table outbox add column redacted_by bigint;

-- The events that a deletion redacts. A row enters when it is numbered, so the transaction that writes it does not pay for this,
-- and leaves when it is redacted. The keys stay text, so that a payload of another shape does not stop the numbering.
create index outbox_comment on outbox ((payload ->> 'comment_id'), event_id)
    where event_id is not null and redacted_by is null and type in ('new_comment', 'updated_comment');
create index outbox_discussion on outbox ((payload ->> 'discussion_id'), event_id)
    where event_id is not null and redacted_by is null and type in ('new_discussion', 'updated_discussion');
create index outbox_redacted on outbox (redacted_by) where redacted_by is not null;

-- The deletions up to this event have redacted all older events. It starts at 0, so that deletions from before this migration
-- redact too, a few events at a time.
alter table event_head add column redacted_through bigint not null default 0;

-- Redacts up to `most` events older than the deletions after `after` and up to `through`. Returns the event up to which all
-- deletions are done. The caller has the lock of event_head.
create function redact_deleted(after bigint, through bigint, most integer) returns bigint
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
            update outbox o set payload = (o.payload::jsonb || deletion.tombstone)::json, redacted_by = deletion.event_id
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
            set payload = (o.payload::jsonb || deletion.tombstone || '{"topic": null, "resolved_by": null}')::json, redacted_by = deletion.event_id
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

-- As in 0007, and redacts. One call redacts at most 50 events, so that a thing with thousands of edits does not hold up the events
-- of all others: the relay's next calls continue. No poll sees the rest meanwhile, because each node redacts by itself when the
-- deletion arrives there.
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
    select count(*), coalesce(bool_or(n.type in ('deleted_comment', 'deleted_discussion')), false) into strict given, deletes
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

-- See 0008.
do $$
declare
    called text;
begin
    foreach called in array array['redact_deleted(bigint, bigint, integer)', 'assign_event_ids(integer)'] loop
        execute format('alter function %s set search_path = pg_catalog, %I, pg_temp', called, current_schema());
    end loop;
end $$;

-- The answer to a repeated POST is what there is now, so a key keeps a reference and no text. The column stays as the last release
-- knows it: a node of that release answers a repetition with the reference alone.
comment on column idempotency_keys.response is
    'The id of what the request wrote: {"id": 456}. Null only inside the transaction that writes it.';
update idempotency_keys set response = json_build_object('id', response -> 'id') where response is not null;
