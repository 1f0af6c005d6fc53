-- Where a user is mentioned: for a rename.
create index discussions_mentioned on discussions using gin (mentioned_users) where mentioned_users is not null;
