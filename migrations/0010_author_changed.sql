-- A user's name and picture are shown with what they wrote. A change of either, by any writer, makes one event for each
-- community that shows it: where the user wrote a live discussion or comment under their own name. What they wrote under a
-- pseudonym does not count, so that no such event tells who is behind one.
--
-- The events of discussions and comments carry the author's name too. Whoever writes one holds the author's row `for share`
-- until the commit, and an update of a name waits for that. So either the event carries the new name, or it comes before
-- this one in the order, and the trigger sees what it tells of.
create function author_changed() returns trigger
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
        select d.community_id from comments k join discussions d on d.id = k.discussion_id
        where k.author_id = new.id and k.pseudonym_id is null and k.deleted_at is null
    ) shown;
    if found then
        -- See 0006: nobody else wakes the relay.
        perform pg_notify('outbox', '');
    end if;
    return null;
end $$;

-- For each row, and not once a statement: one plan by the indexes on author_id, whose cost grows with what these users wrote.
-- No condition in the trigger, which would forbid to change the type of these columns.
create trigger users_author_changed after update on users
    for each row execute function author_changed();

do $$
begin
    execute format('alter function author_changed() security definer set search_path = %I, pg_temp', current_schema());
end $$;
-- One plan for all, by the indexes alone. Most users wrote nothing, and a plan for each of ten thousand, or one that is made for
-- the few that wrote much and reads whole tables, would cost more than the rename.
alter function author_changed()
    set plan_cache_mode = force_generic_plan
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off;
