-- How rows of Django's directory become rows of ours. Each function merges rows of the mirror by their ids, all in the caller's
-- transaction: it writes ours, notes repairs and refusals, and ends `is_pending`. Calling one again changes nothing. Names of
-- functions are a contract: triggers on Django's tables call them too.

-- Whether a table of ours has a column. The schema may be that of a release that does not have it yet.
create or replace function django.has_column(of_table text, of_column text) returns boolean
language sql stable as $$
    select exists (select from pg_attribute
                   where attrelid = to_regclass(of_table) and attname = of_column and attnum > 0 and not attisdropped)
$$;

-- A setting; null where there is none.
create or replace function django.setting(of_name text) returns text
language sql stable as $$
    select value from django.settings where name = of_name
$$;

-- The community for what has none at Django. It is made at the first run; its id leaves room below it for Django's.
create or replace function django.open_community() returns bigint
language sql stable as $$
    select value::bigint from django.settings where name = 'open_community_id'
$$;

-- Makes the open community, unless it is there. Its name and slug are those of the first run.
create or replace function django.make_open_community(of_name text, of_slug text) returns void
language plpgsql as $$
declare
    new_id bigint;
begin
    if django.open_community() is null then
        select coalesce(max(id), 0) + 1000001 into strict new_id
        from (select id from django.communities union all select id from communities) taken;
        insert into communities (id, name, slug, kind, created_at)
        select new_id, of_name, of_slug, 'open', coalesce(min(created_at), now()) from django.communities;
        insert into django.settings (name, value) values ('open_community_id', new_id::text);
    end if;
end $$;

-- Forgets what was said of rows that are merged now.
create or replace function django.forget(of_kind text, ids bigint[]) returns void
language plpgsql as $$
begin
    delete from django.repairs where kind = of_kind and id = any(ids);
    delete from django.refusals where kind = of_kind and id = any(ids);
end $$;

-- A name that no other user has. The first user of a name keeps it; Django has a constraint for that, and copies of it may not.
create or replace function django.shown_username(of_user bigint) returns text
language sql stable as $$
    select case
        when u.is_gone then 'deleted-' || u.id
        when btrim(u.username) = '' then 'user-' || u.id
        when exists (select from django.users o where o.username = u.username and o.id < u.id and not o.is_gone)
            then u.username || '-' || u.id
        else u.username
    end
    from django.users u where u.id = of_user
$$;

-- Takes the personal data of those whom Django has deleted out of the mirror. When they joined says that it is the same site.
create or replace function django.forget_people(ids bigint[]) returns void
language sql as $$
    update django.users set username = '', email = '', password = '', merged_password = null, profile_pic_url = null
    where id = any(ids) and is_gone and (username, email, password, merged_password, profile_pic_url) is distinct from ('', '', '', null, null)
$$;
-- Those of before: the next import forgets them.
update django.users set is_pending = true
where is_gone and (username, email, password, merged_password, profile_pic_url) is distinct from ('', '', '', null, null);

-- A user whom Django has deleted stays: what they wrote stays. They cannot sign in, have no name and belong nowhere.
create or replace function django.merge_users(ids bigint[]) returns void
language plpgsql as $$
declare
    media   constant text := django.setting('media_url');
    renamed bigint[];
begin
    perform django.forget('users', ids);
    -- Quotes may show another name than the one that they have from now on.
    renamed := array(
        select u.id from users u join django.users m on m.id = u.id
        where u.id = any(ids) and (m.is_gone or u.username <> django.shown_username(u.id)));
    -- Comments come before users, as for who edits a comment that mentions somebody.
    if renamed <> '{}' then
        perform from comments k
        where k.id in (
            select m.id from django.comments m join comments answered on answered.id = m.parent_id
            where answered.author_id = any(renamed) and answered.pseudonym_id is null)
        order by k.id for no key update;
    end if;
    insert into users (id, username, avatar_url, created_at, is_active)
    select m.id, django.shown_username(m.id),
           case when m.is_gone or btrim(coalesce(m.profile_pic_url, '')) = '' then null
                when m.profile_pic_url ~ '^https?://' then m.profile_pic_url
                when media is null then null
                else rtrim(media, '/') || '/' || ltrim(m.profile_pic_url, '/') end,
           m.date_joined, m.is_active and not m.is_gone
    from django.users m where m.id = any(ids) order by m.id
    on conflict (id) do update
        set username = excluded.username, avatar_url = excluded.avatar_url, is_active = excluded.is_active
        where (users.username, users.avatar_url, users.is_active)
              is distinct from (excluded.username, excluded.avatar_url, excluded.is_active);
    insert into django.repairs (kind, id, repair, detail)
    select 'users', m.id, case when btrim(m.username) = '' then 'username_empty' else 'username_doubled' end,
           format('%L is called %s', m.username, django.shown_username(m.id))
    from django.users m where m.id = any(ids) and not m.is_gone and django.shown_username(m.id) <> m.username;
    delete from memberships where user_id in (select id from django.users where id = any(ids) and is_gone);
    if to_regclass('credentials') is not null then
        delete from credentials where user_id in (
            select id from django.users where id = any(ids) and (is_gone or password = '' or password like '!%'));
        -- Here a log-in may have replaced the hash of the same password since. So it is replaced only if Django's has changed. Tokens that
        -- Django gave stay valid, hence the old `updated_at`.
        insert into credentials (user_id, email, password, updated_at)
        select m.id, m.email, m.password, m.date_joined from django.users m
        where m.id = any(ids) and not m.is_gone and m.password <> '' and m.password not like '!%'
        on conflict (user_id) do update
            set email = excluded.email,
                password = case when exists (select from django.users u where u.id = credentials.user_id and u.merged_password = u.password)
                                then credentials.password else excluded.password end
            where (credentials.email, credentials.password) is distinct from (excluded.email, excluded.password);
        update django.users set merged_password = password
        where id = any(ids) and merged_password is distinct from password;
    end if;
    update django.users set is_pending = false where id = any(ids) and is_pending;
    perform django.forget_people(ids);
    perform django.bring_back_all() where exists (select from django.users where id = any(ids) and is_gone);
    -- Quotes have the old name.
    if renamed <> '{}' then
        perform django.quote_anew(array(select k.id from comments k where k.author_id = any(renamed) and k.pseudonym_id is null));
    end if;
end $$;

-- A community that Django has deleted stays for what was written there, without members, and closed.
create or replace function django.merge_communities(ids bigint[]) returns void
language plpgsql as $$
begin
    perform django.forget('communities', ids);
    insert into communities (id, name, slug, kind, created_at)
    select m.id, m.name, m.slug,
           -- Nobody sees more than Django showed them.
           case when lower(m.type) in ('public', 'private', 'hidden') then lower(m.type) else 'hidden' end,
           m.created_at
    from django.communities m where m.id = any(ids) order by m.id
    on conflict (id) do update
        set name = excluded.name, slug = excluded.slug, kind = excluded.kind
        where (communities.name, communities.slug, communities.kind) is distinct from (excluded.name, excluded.slug, excluded.kind);
    insert into django.repairs (kind, id, repair, detail)
    select 'communities', m.id, 'kind_unknown', format('%L is hidden here', m.type)
    from django.communities m
    where m.id = any(ids) and not m.is_gone and lower(m.type) not in ('public', 'private', 'hidden');
    delete from memberships where community_id in (select id from django.communities where id = any(ids) and is_gone);
    if django.has_column('communities', 'removed_at') then
        update communities c
        set removed_at = case when m.is_gone then clock_timestamp() end
        from django.communities m where m.id = c.id and m.id = any(ids) and m.is_gone <> (c.removed_at is not null);
    end if;
    update django.communities set is_pending = false where id = any(ids) and is_pending;
    perform django.bring_back_all() where exists (select from django.communities where id = any(ids) and is_gone);
end $$;

-- The membership of each pair, from Django's memberships and lists of roles: the earliest membership, with the highest role. A role
-- counts only for who is in the memberships.
create or replace function django.merge_pairs(users_of bigint[], communities_of bigint[]) returns void
language plpgsql as $$
begin
    delete from django.repairs r using unnest(users_of, communities_of) as p (u, c), django.memberships m
    where r.kind = 'memberships' and r.id = m.id and m.user_id = p.u and m.community_id = p.c;
    delete from django.refusals r using unnest(users_of, communities_of) as p (u, c), django.memberships m
    where r.kind = 'memberships' and r.id = m.id and m.user_id = p.u and m.community_id = p.c;
    delete from django.refusals r using unnest(users_of, communities_of) as p (u, c), django.roles o
    where r.kind = o.kind || 's' and r.id = o.id and o.user_id = p.u and o.community_id = p.c;

    delete from memberships k using unnest(users_of, communities_of) as p (u, c)
    where k.user_id = p.u and k.community_id = p.c
      and not exists (select from django.memberships m where m.user_id = p.u and m.community_id = p.c and not m.is_gone);

    insert into memberships (user_id, community_id, role, created_at)
    select m.user_id, m.community_id,
           coalesce((select o.kind from django.roles o
                     where o.user_id = m.user_id and o.community_id = m.community_id and not o.is_gone
                     order by array_position('{admin,moderator,reviewer}'::text[], o.kind) limit 1), 'member'),
           m.joined_at
    from (select distinct on (m.user_id, m.community_id) m.*
          from unnest(users_of, communities_of) as p (u, c)
          join django.memberships m on m.user_id = p.u and m.community_id = p.c and not m.is_gone
          order by m.user_id, m.community_id, m.joined_at, m.id) m
    -- Where Django is about to delete the user or the community, their membership is gone already.
    join users u on u.id = m.user_id
    join communities c on c.id = m.community_id
    where not exists (select from django.users d where d.id = m.user_id and d.is_gone)
      and not exists (select from django.communities d where d.id = m.community_id and d.is_gone)
    order by m.user_id, m.community_id
    on conflict (user_id, community_id) do update set role = excluded.role where memberships.role <> excluded.role;

    insert into django.refusals (kind, id, reason, detail)
    select 'memberships', m.id,
           case when f.id is null then case when u.id is null then 'no_user' else 'no_community' end else 'doubled' end,
           case when f.id is null then format('user %s, community %s', m.user_id, m.community_id)
                else format('user %s is in community %s by membership %s', m.user_id, m.community_id, f.id) end
    from (select distinct u, c from unnest(users_of, communities_of) as p (u, c)) p
    join django.memberships m on m.user_id = p.u and m.community_id = p.c and not m.is_gone
    left join users u on u.id = m.user_id
    left join communities c on c.id = m.community_id
    left join lateral (select o.id from django.memberships o
                       where o.user_id = m.user_id and o.community_id = m.community_id and not o.is_gone
                         and u.id is not null and c.id is not null
                       order by o.joined_at, o.id limit 1) f on true
    where f.id is distinct from m.id;
    insert into django.refusals (kind, id, reason, detail)
    select o.kind || 's', o.id, 'no_membership', format('user %s is %s of community %s without a membership', o.user_id, o.kind, o.community_id)
    from (select distinct u, c from unnest(users_of, communities_of) as p (u, c)) p
    join django.roles o on o.user_id = p.u and o.community_id = p.c and not o.is_gone
    where not exists (select from django.memberships m
                      where m.user_id = o.user_id and m.community_id = o.community_id and not m.is_gone);
end $$;

create or replace function django.merge_memberships(ids bigint[]) returns void
language plpgsql as $$
begin
    perform django.merge_pairs(array_agg(user_id), array_agg(community_id))
    from (select distinct user_id, community_id from django.memberships where id = any(ids)) pairs;
    update django.memberships set is_pending = false where id = any(ids) and is_pending;
end $$;

-- `of_kind` is admin, moderator or reviewer: the ids of the three lists are apart.
create or replace function django.merge_roles(of_kind text, ids bigint[]) returns void
language plpgsql as $$
begin
    perform django.merge_pairs(array_agg(user_id), array_agg(community_id))
    from (select distinct user_id, community_id from django.roles where kind = of_kind and id = any(ids)) pairs;
    update django.roles set is_pending = false where kind = of_kind and id = any(ids) and is_pending;
end $$;

-- Whether an article can be discussed outside of communities.
create or replace function django.is_in_the_open(m django.articles) returns boolean
language sql stable as $$
    select lower(m.submission_type) = 'public'
        or exists (select from django.discussions d where d.article_id = m.id and d.community_id is null and not d.is_gone)
$$;

-- A public article can be discussed outside of communities too, so it gets its place in the community for that. Other articles get one
-- there if they have such a discussion.
create or replace function django.merge_articles(ids bigint[]) returns void
language plpgsql as $$
begin
    perform django.forget('articles', ids);
    insert into articles (id, title, slug, created_at, submitter_id)
    select m.id, m.title, m.slug, m.created_at, u.id
    from django.articles m left join users u on u.id = m.submitter_id
    where m.id = any(ids) order by m.id
    on conflict (id) do update
        set title = excluded.title, slug = excluded.slug, submitter_id = excluded.submitter_id
        where (articles.title, articles.slug, articles.submitter_id) is distinct from (excluded.title, excluded.slug, excluded.submitter_id);
    insert into django.repairs (kind, id, repair, detail)
    select 'articles', m.id, 'submitter_missing', format('there is no user %s', m.submitter_id)
    from django.articles m
    where m.id = any(ids) and not m.is_gone and m.submitter_id is not null
      and not exists (select from users u where u.id = m.submitter_id);
    insert into community_articles (community_id, article_id, created_at)
    select django.open_community(), m.id, m.created_at
    from django.articles m
    where m.id = any(ids) and not m.is_gone and lower(m.submission_type) = 'public' and django.open_community() is not null
    on conflict do nothing;
    if django.has_column('community_articles', 'removed_at') then
        update community_articles p set removed_at = clock_timestamp()
        from django.articles m
        where m.id = p.article_id and m.id = any(ids) and p.removed_at is null
          and (m.is_gone or p.community_id = django.open_community() and not django.is_in_the_open(m));
        -- It is back.
        update community_articles p set removed_at = null
        from django.articles m where m.id = p.article_id and m.id = any(ids) and not m.is_gone and p.removed_at is not null
          and (p.community_id = django.open_community() and django.is_in_the_open(m) or exists (
              select from django.community_articles o
              where o.community_id = p.community_id and o.article_id = p.article_id and not o.is_gone));
    end if;
    update django.articles set is_pending = false where id = any(ids) and is_pending;
    perform django.bring_back_all() where exists (select from django.articles where id = any(ids) and is_gone);
end $$;

-- Several rows of Django may stand for one place. The earliest says whether it is pseudonymous.
create or replace function django.merge_community_articles(ids bigint[]) returns void
language plpgsql as $$
begin
    -- The rows of the same places too: which of them is the earliest may have changed.
    delete from django.refusals r using django.community_articles m, django.community_articles o
    where r.kind = 'community_articles' and r.id = o.id and m.id = any(ids)
      and o.community_id = m.community_id and o.article_id = m.article_id;
    insert into community_articles (community_id, article_id, is_pseudonymous, created_at)
    select m.community_id, m.article_id, m.is_pseudonymous, m.submitted_at
    from (select distinct on (o.community_id, o.article_id) o.*
          from django.community_articles m
          join django.community_articles o on o.community_id = m.community_id and o.article_id = m.article_id and not o.is_gone
          where m.id = any(ids)
          order by o.community_id, o.article_id, o.id) m
    join communities c on c.id = m.community_id
    join articles a on a.id = m.article_id
    order by m.community_id, m.article_id
    on conflict (community_id, article_id) do update set is_pseudonymous = excluded.is_pseudonymous
        where community_articles.is_pseudonymous <> excluded.is_pseudonymous;
    insert into django.refusals (kind, id, reason, detail)
    select 'community_articles', o.id,
           case when c.id is null then 'no_community' when a.id is null then 'no_article' else 'doubled' end,
           case when c.id is null then format('there is no community %s', o.community_id)
                when a.id is null then format('there is no article %s', o.article_id)
                else format('article %s is in community %s by %s', o.article_id, o.community_id, f.id) end
    from (select distinct community_id, article_id from django.community_articles where id = any(ids)) p
    join django.community_articles o on o.community_id = p.community_id and o.article_id = p.article_id and not o.is_gone
    left join communities c on c.id = o.community_id
    left join articles a on a.id = o.article_id
    cross join lateral (select min(k.id) as id from django.community_articles k
                        where k.community_id = o.community_id and k.article_id = o.article_id and not k.is_gone) f
    where c.id is null or a.id is null or f.id <> o.id;
    if django.has_column('community_articles', 'removed_at') then
        update community_articles p
        set removed_at = case when s.is_gone then clock_timestamp() end
        from (select distinct m.community_id, m.article_id,
                     a.is_gone or not exists (
                         select from django.community_articles o
                         where o.community_id = m.community_id and o.article_id = m.article_id and not o.is_gone) as is_gone
              from django.community_articles m join django.articles a on a.id = m.article_id
              where m.id = any(ids)) s
        where p.community_id = s.community_id and p.article_id = s.article_id and s.is_gone <> (p.removed_at is not null);
    end if;
    update django.community_articles set is_pending = false where id = any(ids) and is_pending;
end $$;
