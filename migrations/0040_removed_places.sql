-- When an article was removed from a community; null while it is there. What people wrote about it stays readable, and nobody writes
-- there any more, save that everyone may delete what they wrote. Whoever puts the article back sets it to null.
--
-- A column, because discussions refer to the row: they never vanish because another program removed an article. A release that does
-- not know the column goes on writing there.
alter table community_articles add column removed_at timestamptz;
