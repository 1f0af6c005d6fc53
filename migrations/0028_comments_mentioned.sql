-- As in 0027, for comments.
create index comments_mentioned on comments using gin (mentioned_users) where mentioned_users is not null;
