-- The passwords of users who log in here and not at Django. Whoever moves the users here fills it: the import, or plain SQL.
create table credentials (
    user_id    bigint primary key references users on delete cascade,
    -- One may log in by it. Neither checked nor unique: an address of two accounts logs nobody in.
    email      text,
    -- In Django's encoded form, such as pbkdf2_sha256$1000000$<salt>$<hash>. A form that is not known here lets nobody in, nor does
    -- one that begins with `!`.
    password   text not null,
    -- When the password was last changed. What was signed in before is signed out then (0037), whoever makes the change.
    updated_at timestamptz not null default now(),
    -- When the server last replaced the hash of this password by a stronger hash of the same password. Nobody else writes it.
    rehashed_at timestamptz
);
create index credentials_email on credentials (lower(email));

-- A writer need not know `updated_at`. A new hash is a new password, unless the same statement says that it is a rehash.
create function credentials_changed() returns trigger
language plpgsql as $$
begin
    if new.password is distinct from old.password and new.rehashed_at is not distinct from old.rehashed_at then
        new.rehashed_at := null;
        -- Later than before, also where a clock was set back.
        new.updated_at := greatest(new.updated_at, clock_timestamp(), old.updated_at + interval '1 microsecond');
    end if;
    return new;
end $$;
create trigger credentials_changed before update on credentials
    for each row execute function credentials_changed();
-- As in 0008.
do $$
begin
    execute format('alter function credentials_changed() security definer set search_path = pg_catalog, %I, pg_temp', current_schema());
    revoke execute on function credentials_changed() from public;
end $$;
