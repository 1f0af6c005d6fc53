-- Communities of the kind `open`, and the event of a change of kind.

-- Anyone reads an open community, and anyone signed in writes there without membership. Programs of the last release cannot read this
-- kind: make a community open when none of them runs any more.
alter table communities
    drop constraint communities_kind,
    add constraint communities_kind check (kind in ('public', 'private', 'hidden', 'open'));

-- As in 0012, with the kind `open`.
create or replace function may_read(kind text, role text, viewer bigint, viewer_is_active boolean) returns boolean
language sql immutable parallel safe
return (kind in ('public', 'open') or role is not null) and (viewer is null or viewer_is_active is true);

-- A change of a community's kind makes its event, whoever makes the change. It is for the members and for those who watch the
-- community. Delivery to the latter ends and begins there.
--
-- Each node knows since which event each community has its kind. It knows a new community to be one that nobody may watch. So a row
-- tells the nodes of one that can be watched, and of one that is gone. Such a row is of no community (0), as those of 0009, and
-- goes to no client.
create function community_changed() returns trigger
language plpgsql as $$
begin
    if tg_op = 'TRUNCATE' then
        insert into outbox (community_id, type, payload)
        select 0, 'community_kind', json_build_object('type', 'community_kind', 'community_id', id, 'kind', null)
        from communities where may_read(kind, null, null, null);
        return null;
    end if;
    if tg_op = 'UPDATE' and old.id = new.id then
        if old.kind <> new.kind then
            insert into outbox (community_id, type, payload)
            values (new.id, 'community_changed', json_build_object(
                'type', 'community_changed',
                'community_id', new.id,
                'kind', new.kind,
                'previous_kind', old.kind,
                'timestamp', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')));
        end if;
        return null;
    end if;
    if tg_op in ('UPDATE', 'DELETE') and may_read(old.kind, null, null, null) then
        insert into outbox (community_id, type, payload)
        values (0, 'community_kind', json_build_object('type', 'community_kind', 'community_id', old.id, 'kind', null));
    end if;
    if tg_op in ('UPDATE', 'INSERT') and may_read(new.kind, null, null, null) then
        insert into outbox (community_id, type, payload)
        values (0, 'community_kind', json_build_object('type', 'community_kind', 'community_id', new.id, 'kind', new.kind));
    end if;
    return null;
end $$;
create trigger communities_changed after insert or update or delete on communities
    for each row execute function community_changed();
create trigger communities_truncated before truncate on communities
    for each statement execute function community_changed();
-- See 0006: nobody else wakes the relay.
create trigger communities_wake after insert or update or delete or truncate on communities
    for each statement execute function wake_relay();
-- As in 0008.
do $$
begin
    execute format('alter function community_changed() security definer set search_path = pg_catalog, %I, pg_temp', current_schema());
    revoke execute on function community_changed() from public;
end $$;
