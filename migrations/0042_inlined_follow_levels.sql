-- The rules of 0021, as tables of one row. PostgreSQL puts such a function into the statement that reads from it. A function that returns
-- a value and reads a table is planned anew in each statement that calls it, which took longer than the statement itself. The functions
-- of 0021 and 0023 stay, for an older release beside this schema.

-- What a user said about a discussion, as `said_level`.
create function said_about(member bigint, discussion bigint, community bigint, article bigint) returns table (level text)
language sql stable
begin atomic
    select coalesce(
        (select f.level from discussion_follows f where f.user_id = member and f.discussion_id = discussion),
        (select f.level from article_follows f where f.user_id = member and f.community_id = community and f.article_id = article));
end;

-- What a member said about an article in a community, as `article_level`. Null for nobody.
create function said_about_article(member bigint, role text, community bigint, article bigint) returns table (level text)
language sql stable
begin atomic
    select case when member is not null then coalesce(
        (select f.level from article_follows f where f.user_id = member and f.community_id = community and f.article_id = article),
        case when role = 'admin' or exists (select from articles a where a.id = article and a.submitter_id = member)
            then 'follow' else 'default' end) end;
end;

create or replace function said_level(member bigint, discussion bigint, community bigint, article bigint) returns text
language sql stable
begin atomic
    select level from said_about(member, discussion, community, article);
end;
create or replace function article_level(member bigint, role text, community bigint, article bigint) returns text
language sql stable
begin atomic
    select level from said_about_article(member, role, community, article);
end;
