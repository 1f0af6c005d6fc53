-- The first answer to a POST that carried an Idempotency-Key, given again when a client on a bad network repeats it.
create table idempotency_keys (
    user_id      bigint not null references users on delete cascade,
    key          text not null constraint idempotency_keys_length check (char_length(key) between 1 and 255),
    -- SHA-256 of method, path and body: the same key with another request is refused.
    request_hash bytea not null,
    -- Null only inside the transaction that writes it.
    response     json,
    created_at   timestamptz not null default now(),
    primary key (user_id, key)
);
-- For the purge of what is older than a day.
create index idempotency_keys_age on idempotency_keys (created_at);
