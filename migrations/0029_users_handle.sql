-- Who has a handle, and the handles that begin like one.
create index users_handle on users (lower(username) text_pattern_ops);
