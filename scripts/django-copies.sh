#!/bin/sh
# Makes a SciCommons database many times as large: copies of all that the import reads, each with ids of its own.
#
#   scripts/django-copies.sh postgres://.../django 100    # the database is then a hundred times as large
#
# It writes into the database. Use it on a copy.
set -eu

[ $# -eq 2 ] || { echo "usage: $0 <postgres url> <times>" >&2; exit 2; }

psql --quiet --no-psqlrc -v ON_ERROR_STOP=1 -v last="$(($2 - 1))" "$1" <<'SQL'
begin;
-- Copies refer to rows of other copies that come later.
set constraints all deferred;
create temp table copies on commit drop as
    select n, n * (select greatest(
        (select max(id) from "user"), (select max(id) from communities_community), (select max(id) from communities_membership),
        (select max(id) from communities_community_admins), (select max(id) from communities_community_moderators),
        (select max(id) from communities_community_reviewers), (select max(id) from articles_article),
        (select max(id) from communities_communityarticle), (select max(id) from articles_anonymousidentity),
        (select max(id) from articles_discussion), (select max(id) from articles_discussioncomment),
        (select max(id) from articles_reaction), (select max(id) from articles_discussionsubscription),
        (select max(id) from articles_userflag), (select max(id) from articles_discussionsummary))) as shift
    from generate_series(1, :last) as n;

-- Inserts the copies of a table. `shifted` are its columns with ids, and `named` those that are unique.
create function pg_temp.copy_rows(of_table text, shifted text[], named text[] default '{}') returns void
language plpgsql as $$
declare
    columns text;
    copied  text;
begin
    select string_agg(format('%I', attname), ', ' order by attnum),
           string_agg(case when attname = any(shifted) then format('t.%I + c.shift', attname)
                           when attname = any(named) then format('t.%I || ''-'' || c.n', attname)
                           else format('t.%I', attname) end, ', ' order by attnum)
    into columns, copied
    from pg_attribute where attrelid = of_table::regclass and attnum > 0 and not attisdropped;
    execute format('insert into %s (%s) select %s from %s t cross join copies c', of_table, columns, copied, of_table);
    execute format('select setval(pg_get_serial_sequence(%L, ''id''), (select max(id) from %s))', of_table, of_table);
end $$;

\o /dev/null
select pg_temp.copy_rows('public."user"', '{id}', '{username}');
select pg_temp.copy_rows('public.communities_community', '{id}', '{name, slug}');
select pg_temp.copy_rows('public.communities_membership', '{id, community_id, user_id}');
select pg_temp.copy_rows('public.communities_community_admins', '{id, community_id, user_id}');
select pg_temp.copy_rows('public.communities_community_moderators', '{id, community_id, user_id}');
select pg_temp.copy_rows('public.communities_community_reviewers', '{id, community_id, user_id}');
select pg_temp.copy_rows('public.articles_article', '{id, submitter_id}', '{slug}');
select pg_temp.copy_rows('public.communities_communityarticle', '{id, article_id, community_id, assigned_moderator_id}');
select pg_temp.copy_rows('public.articles_anonymousidentity', '{id, article_id, user_id, community_id}');
select pg_temp.copy_rows('public.articles_discussion', '{id, article_id, author_id, community_id}');
select pg_temp.copy_rows('public.articles_discussioncomment', '{id, author_id, discussion_id, parent_id, community_id}');
select pg_temp.copy_rows('public.articles_reaction', '{id, object_id, user_id}');
select pg_temp.copy_rows('public.articles_discussionsubscription', '{id, article_id, community_id, community_article_id, user_id}');
select pg_temp.copy_rows('public.articles_userflag', '{id, entity_id, user_id}');
select pg_temp.copy_rows('public.articles_discussionsummary', '{id, community_article_id, created_by_id, last_updated_by_id}');
commit;
SQL
