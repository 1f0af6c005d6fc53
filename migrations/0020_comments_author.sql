-- In which discussions a user wrote. A file of its own, as those after it: a transaction that locks two tables, one after the other, and
-- requests that need both the other way round would wait for each other.
create index comments_author_discussion on comments (author_id, discussion_id);
-- It has all that this one was for.
drop index comments_author;
