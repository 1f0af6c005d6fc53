-- As the index of 0020, with whether a comment is deleted: counting a member's own comments in a discussion reads the index alone. It is a
-- migration of its own for the reason of 0018.
create index comments_of_writer on comments (author_id, discussion_id) include (deleted_at);
drop index comments_author_discussion;
