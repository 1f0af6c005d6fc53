-- Sessions that end when they should, at every node, and whose table lets nobody in.
--
-- `id` is now the SHA-256 of the cookie's value, in hexadecimal. Whoever reads the table, a backup or a log of statements learns
-- no cookie. The cookie has 256 random bits, so its hash needs no salt.
--
-- Older rows have the cookie itself as their id, and nobody knows which key vouched for them. They end here, so their users sign
-- in once more. An older release that still runs finds none of the new rows, and a new one none of those that it writes.
delete from sessions;

alter table sessions
    -- The user. Null in rows of an older release, which the housekeeping deletes.
    add column user_id     bigint,
    -- The key that vouched for the user: a fingerprint of the secret or public key that checked their token. A session is valid as
    -- long as the settings list that key.
    add column key         text,
    -- The only communities that the token was valid for; null for all.
    add column communities bigint[],
    -- Only older releases write it.
    alter column data set default '{}';

-- For "log out everywhere", the end of an account, and the bound on the sessions of one user.
create index sessions_user on sessions (user_id, expires_at);

-- A node remembers for a moment what it has read of a session, and a parked poll asks no database. So the end of a session is told
-- to the nodes as the end of an account is (0009): by a row that takes its place in the order and is delivered to nobody. It is
-- written by whatever deletes the session, plain SQL included. It names each session by the first 16 digits of its id, and not by
-- its user alone: the user may have begun another session since.
create function sessions_ended() returns trigger
language plpgsql as $$
begin
    if tg_op = 'TRUNCATE' then
        insert into outbox (community_id, type, payload)
        select 0, 'sessions_ended', json_build_object(
            'type', 'sessions_ended', 'user_id', user_id, 'sessions', json_agg(left(id, 16)))
        from sessions where user_id is not null and expires_at > now() group by user_id;
    else
        insert into outbox (community_id, type, payload)
        select 0, 'sessions_ended', json_build_object(
            'type', 'sessions_ended', 'user_id', user_id, 'sessions', json_agg(left(id, 16)))
        from ended where user_id is not null and expires_at > now() group by user_id;
    end if;
    if found then
        -- A log-out wakes the relay at whichever node it is, see 0006.
        perform pg_notify('outbox', '');
    end if;
    return null;
end $$;

create trigger sessions_ended after delete on sessions
    referencing old table as ended for each statement execute function sessions_ended();
create trigger sessions_truncated before truncate on sessions
    for each statement execute function sessions_ended();

-- As in 0009, but the sessions of the user end too. Otherwise they would be valid again when the account is.
create or replace function account_ended() returns trigger
language plpgsql as $$
begin
    if tg_op = 'TRUNCATE' then
        insert into outbox (community_id, type, payload)
        select 0, 'account_changed', json_build_object('type', 'account_changed', 'user_id', id) from users;
        delete from sessions;
    elsif tg_op = 'DELETE' or old.id <> new.id or (old.is_active and not new.is_active) then
        insert into outbox (community_id, type, payload)
        values (0, 'account_changed', json_build_object('type', 'account_changed', 'user_id', old.id));
        delete from sessions where user_id = old.id;
    else
        return null;
    end if;
    -- Nobody else wakes the relay after plain SQL, and accounts end seldom: see 0006.
    perform pg_notify('outbox', '');
    return null;
end $$;

-- The rule of 0008. A replaced function has lost its settings, and 0009 and 0010 did not revoke what everybody may do by default:
-- call a function with the rights of its owner, or make it the trigger of a table of one's own. (sessions_ended runs with the
-- rights of whoever deletes sessions: the server, or account_ended.)
do $$
declare
    path text := format('pg_catalog, %I, pg_temp', current_schema());
begin
    execute format('alter function account_ended() security definer set search_path = %s', path);
    execute format('alter function author_changed() set search_path = %s', path);
    execute format('alter function sessions_ended() set search_path = %s', path);
end $$;
revoke execute on function account_ended(), author_changed() from public;
