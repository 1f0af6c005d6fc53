-- Other programs write the directory, each with its own role and settings. Their triggers write the outbox for them: with the
-- rights of this schema's owner, and in this schema whatever the writer's search_path is. pg_dump restores data with an empty one.
--
-- The schema is the one that these tables are in. pg_temp comes last: a temporary table of the writer's must not stand in for ours.
do $$
declare
    path   text := format('pg_catalog, %I, pg_temp', current_schema());
    called text;
begin
    foreach called in array array['memberships_changed()', 'membership_event(bigint, bigint, text, text)', 'wake_relay()'] loop
        execute format('alter function %s security definer set search_path = %s', called, path);
    end loop;
    -- The server calls these, by its own role and with that role's rights. So there is nothing to revoke: whoever has no right to
    -- write event_head and outbox gets nowhere with them.
    foreach called in array array['event_history_fingerprint()', 'leap_from(bigint)', 'leap_if_new_history()',
                                  'leap_if_lost(bigint, bigint)', 'leap_now()', 'assign_event_ids(integer)'] loop
        execute format('alter function %s set search_path = %s', called, path);
    end loop;
    -- With the rights of the owner, these could be used to make events of memberships that never changed: by a call, or by a
    -- trigger on a table of one's own. Our triggers need no such right of the writer.
    revoke execute on function membership_event(bigint, bigint, text, text), memberships_changed(), wake_relay() from public;
end $$;
