-- A change of memberships by another program wakes the relay at once: until its event has a place in the order, whoever was
-- removed still gets what the community writes. The relay also looks by itself, but only now and then.
--
-- NOTIFY takes one lock for all commits that use it, which is why comments and discussions are announced after their commit,
-- by the server that wrote them. Memberships change seldom, and nobody else is there to announce what plain SQL writes.
create function wake_relay() returns trigger
language plpgsql as $$
begin
    perform pg_notify('outbox', '');
    return null;
end $$;

-- Once a statement, however many rows it changes; TRUNCATE has a trigger of the same kind.
create trigger memberships_wake after insert or update or delete or truncate on memberships
    for each statement execute function wake_relay();
