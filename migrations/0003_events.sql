-- The log of record. A change writes its row here in its own transaction; the relay numbers the rows after they are committed.
-- Numbers given at insert would not do: they follow the order of inserts, and a reader with `id > cursor` would miss a
-- transaction that commits late.

create table outbox (
    id           bigint generated always as identity primary key,
    community_id bigint not null,
    -- The one user it is for; null where it is for the whole community.
    user_id      bigint,
    type         text not null,
    -- The event as clients get it, without its event_id. `json`, not `jsonb`: it is passed on as it was written.
    payload      json not null,
    created_at   timestamptz not null default clock_timestamp(),
    -- Its place in the total order; null until relayed.
    event_id     bigint constraint outbox_event_id unique
);
-- What the relay has yet to number; empty most of the time.
create index outbox_waiting on outbox (id) where event_id is null;
-- A user's own history of memberships: asked at register.
create index outbox_user on outbox (user_id, event_id desc) where user_id is not null;
-- The newest event of a community before the ones that a node keeps: asked at start.
create index outbox_community on outbox (community_id, event_id desc) where user_id is null;

-- Rows are updated once and soon after they are written, so vacuum should come by more often than for a common table.
alter table outbox set (autovacuum_vacuum_scale_factor = 0.02);

-- How far pruning has gone in each community, so that a client that asks for what is pruned is told so, and no other is.
create table outbox_pruned (
    community_id   bigint primary key,
    last_event_id  bigint not null
);

create table event_head (
    singleton      boolean primary key default true constraint event_head_singleton check (singleton),
    -- The newest event_id given to a row.
    last_assigned  bigint not null default 0,
    -- The newest event_id that is in the fan-out (Redis), where there is one.
    last_published bigint not null default 0
);
insert into event_head default values;

-- Numbers up to `batch` waiting rows in the order of their ids and returns them. One call is one transaction.
--
-- The lock on event_head makes callers take turns, and each statement of a volatile function sees what is committed when it
-- starts: a second relay at the same time sees the rows of the first as numbered. Two relays are thus harmless, and ids have
-- no gap. A row depends only on rows with smaller ids (it saw them committed, so it was inserted later), hence the order.
create function assign_event_ids(batch integer)
returns table (event_id bigint, community_id bigint, user_id bigint, payload text, created_at timestamptz)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    head  bigint;
    given bigint;
begin
    -- Nothing to do costs no lock and no write.
    if not exists (select from outbox where event_id is null) then
        return;
    end if;
    select last_assigned into strict head from event_head for update;
    return query
        with waiting as (
            select w.id, head + row_number() over (order by w.id) as number
            from (select id from outbox where event_id is null order by id limit batch) w
        ), numbered as (
            update outbox o set event_id = waiting.number
            from waiting where o.id = waiting.id
            returning o.event_id, o.community_id, o.user_id, o.payload::text, o.created_at
        )
        select * from numbered order by 1;
    get diagnostics given = row_count;
    if given > 0 then
        update event_head set last_assigned = head + given;
        -- One listener-wake a batch, from the relay's transaction only: NOTIFY serialises the commits that use it.
        perform pg_notify('events', (head + given)::text);
    end if;
end $$;

-- A change of memberships makes its event whoever makes the change.
create function membership_event(member bigint, place bigint, before text, after text) returns void
language sql as $$
    insert into outbox (community_id, user_id, type, payload)
    values (place, member, 'membership_changed', json_build_object(
        'type', 'membership_changed',
        'community_id', place,
        'user_id', member,
        'role', after,
        'previous_role', before,
        'timestamp', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))
$$;

create function memberships_changed() returns trigger
language plpgsql as $$
begin
    if tg_op = 'TRUNCATE' then
        perform membership_event(user_id, community_id, role, null) from memberships;
        return null;
    end if;
    if tg_op = 'UPDATE' and (old.user_id, old.community_id) = (new.user_id, new.community_id) then
        if old.role <> new.role then
            perform membership_event(new.user_id, new.community_id, old.role, new.role);
        end if;
        return null;
    end if;
    if tg_op in ('UPDATE', 'DELETE') then
        perform membership_event(old.user_id, old.community_id, old.role, null);
    end if;
    if tg_op in ('UPDATE', 'INSERT') then
        perform membership_event(new.user_id, new.community_id, null, new.role);
    end if;
    return null;
end $$;

create trigger memberships_changed after insert or update or delete on memberships
    for each row execute function memberships_changed();
create trigger memberships_truncated before truncate on memberships
    for each statement execute function memberships_changed();
