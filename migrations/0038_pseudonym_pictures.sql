-- A pseudonym may have a picture, which is shown wherever its name is. Those of SciCommons come with their pseudonyms, as addresses of
-- the kind `data:`. It says nothing of the person. The server makes none.
alter table pseudonyms add column avatar_url text;

-- As in 0030, with the pictures of pseudonyms. A program of the last release shows none with a pseudonym, whatever this returns.
create or replace function shown_mentions(people bigint[], names bigint[])
returns table (id bigint, username text, avatar_url text, pseudonym text)
language plpgsql stable rows 2 as $$
#variable_conflict use_column
begin
    return query
        select shown.id, shown.username, shown.avatar_url, shown.pseudonym
        from (
            select u.id, u.username, u.avatar_url, null::text as pseudonym, 1 as part, a.place
            from unnest(people) with ordinality as a (id, place) join users u on u.id = a.id
            union all
            select p.user_id, p.name, p.avatar_url, p.name, 2, a.place
            from unnest(names) with ordinality as a (id, place) join pseudonyms p on p.id = a.id
        ) shown
        order by shown.part, shown.place;
end $$;

-- As in 0012, likewise.
create or replace function shown_resolver(resolver bigint, name_id bigint, out id bigint, out username text, out avatar_url text, out pseudonym text)
language plpgsql stable as $$
begin
    if name_id is null then
        select u.id, u.username, u.avatar_url into id, username, avatar_url from users u where u.id = resolver;
    else
        select resolver, p.name, p.avatar_url, p.name into id, username, avatar_url, pseudonym from pseudonyms p where p.id = name_id;
    end if;
end $$;

-- As in 0030, likewise.
create or replace function resolver_gone() returns trigger
language plpgsql as $$
declare
    wire constant text := 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"';
begin
    -- The locks are those of 0010: a rename of somebody who is shown comes after this event.
    perform from users u where u.id = any(new.mentioned_users) order by u.id for share;
    insert into outbox (community_id, type, payload)
    select new.community_id, 'updated_discussion', json_build_object(
        'type', 'updated_discussion',
        'community_id', new.community_id,
        'article_id', new.article_id,
        'discussion_id', new.id,
        'topic', new.topic,
        'text', new.text,
        'author', case
            when p.id is not null then json_build_object('id', null, 'username', p.name, 'avatar_url', p.avatar_url)
            else json_build_object('id', u.id, 'username', u.username, 'avatar_url', u.avatar_url)
        end,
        'mentions', (
            select coalesce(json_agg(case
                when s.pseudonym is null then json_build_object('id', s.id, 'username', s.username, 'avatar_url', s.avatar_url)
                else json_build_object('id', null, 'username', s.pseudonym, 'avatar_url', s.avatar_url)
            end), '[]')
            from shown_mentions(new.mentioned_users, new.mentioned_pseudonyms) s),
        'is_resolved', new.is_resolved,
        'comment_count', new.comment_count,
        'upvotes', new.upvotes,
        'downvotes', new.downvotes,
        'edited_at', to_char(new.edited_at at time zone 'utc', wire),
        'resolved_at', to_char(new.resolved_at at time zone 'utc', wire),
        'resolved_by', null,
        'timestamp', to_char(new.updated_at at time zone 'utc', wire))
    from (select id, username, avatar_url from users where id = new.author_id for share) u
    left join pseudonyms p on p.id = new.pseudonym_id;
    -- See 0006: nobody else wakes the relay.
    perform pg_notify('outbox', '');
    return null;
end $$;

-- `create or replace` has dropped the rights and the schema of 0008.
do $$
declare
    path text := format('pg_catalog, %I, pg_temp', current_schema());
begin
    execute format('alter function resolver_gone() security definer set search_path = %s', path);
    execute format('alter function shown_mentions(bigint[], bigint[]) set search_path = %s', path);
    revoke execute on function resolver_gone() from public;
end $$;
