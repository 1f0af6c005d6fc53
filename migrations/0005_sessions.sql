-- Browser sessions. The id is the cookie's value: 128 random bits.
create table sessions (
    id         text primary key,
    data       jsonb not null,
    expires_at timestamptz not null
);
-- For the purge.
create index sessions_expiry on sessions (expires_at);
