-- The leap. A database can lose its newest part: a backup is restored, a failover loses commits, a server is recovered to a
-- point in time. It would then give numbers again that clients, nodes and Redis know with other events. So event_head says which
-- history gave the last number. Where that is not the present one, the numbering goes on from a new base, far beyond all that
-- was given, and everything up to the base counts as gone: cursors from before are answered with catchup_required.
--
-- An upgrade is no new history, hence the fingerprint is written here and not found to differ at the next start.

alter table event_head
    -- Events of the present history have numbers above this; 0 in a database that has never leapt.
    add column base bigint not null default 0,
    -- Of the database that gave the last number, see event_history_fingerprint.
    add column fingerprint text;

-- What a database is known by: the cluster, the timeline (a promotion or a recovery to a point in time begins a new one), the
-- database, and event_head as a table and as a file (a restore into the same database makes one of them anew). VACUUM FULL makes
-- a new file as well, and so costs a needless leap, which does no harm. So will a migration that rewrites event_head.
--
-- Null in a standby: it gives no numbers. A part that this server does not tell, as some hosts of PostgreSQL forbid, is left out.
create function event_history_fingerprint() returns text
language plpgsql volatile as $$
declare
    cluster  text := '';
    timeline text := '';
begin
    if pg_is_in_recovery() then
        return null;
    end if;
    begin
        cluster := (select system_identifier from pg_control_system());
    exception when others then null;
    end;
    begin
        -- The name of the present WAL file begins with the timeline. pg_control_checkpoint would tell the old one for a while.
        timeline := left(pg_walfile_name(pg_current_wal_lsn()), 8);
    exception when others then null;
    end;
    return concat_ws('/', cluster, timeline,
        (select oid from pg_database where datname = current_database()),
        to_regclass('event_head')::oid, pg_relation_filenode(to_regclass('event_head')));
end $$;

-- Begins a new base beyond all numbers given and beyond `seen`; returns it. The caller has the lock of event_head.
--
-- By how many regions (event_id >> 32) it leaps is told by the clock: a backup that is restored twice would else get the same
-- numbers twice, and a cursor of the first time would be believed in the second. Numbers stay below 2^53, which JSON carries
-- exactly: that is some 4,000 leaps.
create function leap_from(seen bigint) returns bigint
language plpgsql volatile as $$
declare
    new_base bigint;
begin
    -- In a restore that is under way the directory may still be empty, and its triggers come last.
    if not exists (select from pg_trigger where tgrelid = to_regclass('memberships') and tgname = 'memberships_changed') then
        raise exception 'this database is not complete: memberships has no trigger'
            using hint = 'Is it being restored? Events are numbered again when that is done.';
    end if;
    select ((greatest(h.last_assigned, seen) >> 32) + 1 + floor(extract(epoch from clock_timestamp()))::bigint % 1024) << 32
    into strict new_base from event_head h;
    if new_base > (1::bigint << 53) - (1::bigint << 32) then
        raise exception 'the numbers of events are used up: no base for a leap is left below 2^53';
    end if;
    update event_head
    set last_assigned = new_base, last_published = new_base, base = new_base, fingerprint = event_history_fingerprint();
    raise log 'discussions: this is another history than the one that gave the last number: events go on from %', new_base;
    -- No number: whoever listens looks for itself.
    perform pg_notify('events', 'leap');
    return new_base;
end $$;

-- Leaps if this is another history than the one that gave the last number: the new base, else null.
create function leap_if_new_history() returns bigint
language plpgsql volatile as $$
declare
    present text := event_history_fingerprint();
begin
    -- The common case costs no lock.
    if present is null or exists (select from event_head where fingerprint = present) then
        return null;
    end if;
    perform from event_head for update;
    if exists (select from event_head where fingerprint = present) then
        return null;
    end if;
    return leap_from(0);
end $$;

-- Leaps if numbers up to `seen` were given in the history of `known_base` and this database does not know them: it lost them
-- in a way that the fingerprint does not show (a snapshot of a disk was brought back). The new base, else null.
create function leap_if_lost(known_base bigint, seen bigint) returns bigint
language plpgsql volatile as $$
begin
    if pg_is_in_recovery() then
        return null;
    end if;
    perform from event_head where base = known_base and last_assigned < seen for update;
    if not found then
        return null;
    end if;
    return leap_from(seen);
end $$;

-- Leaps in any case, for `discussions leap`.
create function leap_now() returns bigint
language plpgsql volatile as $$
begin
    perform from event_head for update;
    return leap_from(0);
end $$;

-- As in 0003, but for two things: no number is given in a history that was not looked at, and none is lost by a crash under
-- synchronous_commit = off, which would have it given again: this commit, and all before it, are on the disk before anybody is
-- told a number.
create or replace function assign_event_ids(batch integer)
returns table (event_id bigint, community_id bigint, user_id bigint, payload text, created_at timestamptz)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    head  bigint;
    given bigint;
begin
    perform leap_if_new_history();
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
        if current_setting('synchronous_commit') = 'off' then
            perform set_config('synchronous_commit', 'local', true);
        end if;
        update event_head set last_assigned = head + given;
        -- One listener-wake a batch, from the relay's transaction only: NOTIFY serialises the commits that use it.
        perform pg_notify('events', (head + given)::text);
    end if;
end $$;

update event_head set fingerprint = event_history_fingerprint();
