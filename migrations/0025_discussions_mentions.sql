-- Whom a text mentions by `@handle`: members by their names, and pseudonyms as pseudonyms. Each column is null where there is none, as in
-- most rows, and keeps the order of the text. An account that is deleted is not shown any more.

alter table discussions
    add column mentioned_users bigint[],
    add column mentioned_pseudonyms bigint[];
