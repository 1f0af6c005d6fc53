-- Which comments live in a discussion, and all that decides whether a member has read them: counting reads the index alone.
--
-- It is a migration of its own, because it takes a while: no comment is written meanwhile, and nothing else is locked.
create index comments_unread on comments (discussion_id, id) include (author_id, created_at) where deleted_at is null;
