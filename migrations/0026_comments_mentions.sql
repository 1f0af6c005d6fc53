-- As in 0025, for comments.
alter table comments
    add column mentioned_users bigint[],
    add column mentioned_pseudonyms bigint[];
