-- What is older than a membership counts as read. So does what somebody was notified of before they left and came back.
create function memberships_begun() returns trigger
language plpgsql as $$
begin
    update notifications n set is_read = true
    from (
        select o.id from begun b
        join notifications o on o.user_id = b.user_id and o.community_id = b.community_id and not o.is_read
        -- As `mark_read` locks them, so that the two do not wait for each other.
        order by o.id for no key update of o
    ) earlier
    where n.id = earlier.id;
    return null;
end $$;
create trigger memberships_begun after insert on memberships
    referencing new table as begun
    for each statement execute function memberships_begun();
-- As in 0008.
do $$
begin
    execute format('alter function memberships_begun() security definer set search_path = pg_catalog, %I, pg_temp', current_schema());
    revoke execute on function memberships_begun() from public;
end $$;
