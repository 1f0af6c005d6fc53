-- Whether a user's account is in use. A user who is not active, or is deleted, is refused at every call: the statements that
-- decide on access look here. The default keeps programs that do not know the column right.
alter table users add column is_active boolean not null default true;

-- Queues of such a user end at once, parked polls included. A poll asks no database while it is parked, so each node must be
-- told: by a row that takes its place in the order, is of no community (0) and for no user, and so is delivered to nobody. A
-- release that does not know it keeps it in the log of a community without members.
create function account_ended() returns trigger
language plpgsql as $$
begin
    if tg_op = 'TRUNCATE' then
        insert into outbox (community_id, type, payload)
        select 0, 'account_changed', json_build_object('type', 'account_changed', 'user_id', id) from users;
    elsif tg_op = 'DELETE' or old.id <> new.id or (old.is_active and not new.is_active) then
        insert into outbox (community_id, type, payload)
        values (0, 'account_changed', json_build_object('type', 'account_changed', 'user_id', old.id));
    else
        return null;
    end if;
    -- Nobody else wakes the relay after plain SQL, and accounts end seldom: see 0006.
    perform pg_notify('outbox', '');
    return null;
end $$;

-- Without a list of columns: a trigger of others may set the column where the statement does not name it. Without a condition,
-- which would forbid to change a column's type.
create trigger users_account_ended after update or delete on users
    for each row execute function account_ended();
create trigger users_truncated before truncate on users
    for each statement execute function account_ended();

-- A program that may write users need not be allowed to write the outbox, nor have this schema in its search_path.
do $$
begin
    execute format('alter function account_ended() security definer set search_path = %I, pg_temp', current_schema());
end $$;
