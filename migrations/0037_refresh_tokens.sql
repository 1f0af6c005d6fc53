-- Log-ins by password. Each lives as long as its refresh token, which every refresh replaces. No row has a token, only hashes.
create table logins (
    -- The tokens for access name it, and so do the sessions that begin with them. It lets nobody in.
    id           bigint generated always as identity primary key,
    user_id      bigint not null references users on delete cascade,
    -- The SHA-256 of the part that all refresh tokens of this log-in have in common. So a token that was used long ago still
    -- leads here, and one row is enough for a log-in.
    handle_hash  bytea not null unique,
    -- The SHA-256 of the newest refresh token, the only one that was not used yet.
    token_hash   bytea not null,
    -- The tokens that were used a moment ago: a hash, what leads from the token to its successor, and when it was used.
    used         jsonb not null default '[]',
    created_at   timestamptz not null default now(),
    refreshed_at timestamptz not null default now(),
    expires_at   timestamptz not null
);
-- For the end of an account or password, and the bound on the log-ins of one user.
create index logins_user on logins (user_id, expires_at);
-- For the purge.
create index logins_expiry on logins (expires_at);

-- A browser session that began with a token of a log-in ends with the log-in. Null for the tokens of other issuers, and in the rows
-- of older releases.
alter table sessions add column login_id bigint references logins on delete cascade;
create index sessions_login on sessions (login_id) where login_id is not null;

-- A log-in ends when its user's password changes or goes, and when the account ends: whoever writes that. (Log-ins of deleted users go
-- by the foreign key.) Otherwise they would be valid again when the account is.
create function logins_ended() returns trigger
language plpgsql as $$
begin
    if tg_op = 'TRUNCATE' then
        delete from logins;
    elsif tg_table_name = 'credentials' then
        if tg_op = 'DELETE' or old.updated_at <> new.updated_at or old.user_id <> new.user_id then
            delete from logins l where l.user_id = old.user_id;
        end if;
    elsif old.is_active and not new.is_active then
        delete from logins l where l.user_id = old.id;
    end if;
    return null;
end $$;
create trigger credentials_logins_ended after update or delete on credentials
    for each row execute function logins_ended();
create trigger credentials_truncated before truncate on credentials
    for each statement execute function logins_ended();
-- Triggers fire in the order of their names. This one comes before users_account_ended, which deletes sessions: whoever ends a log-in
-- locks the log-in first and its sessions then. So the end of an account cannot meet a log-out in a deadlock.
create trigger users_access_ended after update on users
    for each row execute function logins_ended();
-- As in 0008.
do $$
begin
    execute format('alter function logins_ended() security definer set search_path = pg_catalog, %I, pg_temp', current_schema());
    revoke execute on function logins_ended() from public;
end $$;
