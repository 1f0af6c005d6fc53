-- Views with the names and columns of Django's tables, over ours. The command has put their schema first in the search_path and ours
-- after it, so names without a schema are ours, and new things are made in the schema of the views.

-- Constants of this database. PostgreSQL puts their values in the place of the calls, so it leaves out whole branches of a union.
do $$
declare
    own_community bigint;
begin
    if to_regclass('django.settings') is not null then
        select value::bigint into own_community from django.settings where name = 'open_community_id';
    end if;
    -- Where the discussions are that have no community at Django; 0 for nowhere.
    execute format('create function own_community() returns bigint language sql immutable return %L::bigint', coalesce(own_community, 0));
    execute format('create function type_of_discussions() returns integer language sql immutable return %L::integer',
        coalesce((select id from public.django_content_type where app_label = 'articles' and model = 'discussion'), 0));
    execute format('create function type_of_comments() returns integer language sql immutable return %L::integer',
        coalesce((select id from public.django_content_type where app_label = 'articles' and model = 'discussioncomment'), 0));
end $$;

-- A row that Django has no number for gets one of two ids of this program. Django's own numbers are below 2^31.
create function paired(a bigint, b bigint) returns bigint language sql immutable return (a << 32) | b;

-- Django marks what is deleted by its text.
create view articles_discussion as
    select d.id, case when d.deleted_at is null then d.topic else '[deleted]' end as topic,
           case when d.deleted_at is null then d.text else '[deleted]' end as content,
           d.created_at, d.updated_at, d.article_id, d.author_id, d.community_id, null::timestamptz as deleted_at,
           d.pseudonym_id is not null as is_pseudonymous, d.is_resolved
    from discussions d where d.community_id <> own_community()
    union all
    select d.id, case when d.deleted_at is null then d.topic else '[deleted]' end,
           case when d.deleted_at is null then d.text else '[deleted]' end,
           d.created_at, d.updated_at, d.article_id, d.author_id, null, null, d.pseudonym_id is not null, d.is_resolved
    from discussions d where d.community_id = own_community();

create view articles_discussioncomment as
    select k.id, case when k.deleted_at is null then k.text else '[deleted]' end as content, k.created_at, k.updated_at,
           k.author_id, k.discussion_id, k.parent_id, nullif(d.community_id, own_community()) as community_id,
           k.pseudonym_id is not null as is_pseudonymous, k.deleted_at is not null as is_deleted
    from comments k join discussions d on d.id = k.discussion_id;

-- Django's table has the votes on articles and reviews too. They stay there.
create view articles_reaction as
    select r.id, r.object_id::bigint as object_id, r.vote, r.created_at, r.content_type_id, r.user_id
    from public.articles_reaction r where r.content_type_id not in (type_of_discussions(), type_of_comments())
    union all
    select paired(v.discussion_id, v.user_id), v.discussion_id, v.value, d.created_at, type_of_discussions(), v.user_id
    from discussion_votes v left join discussions d on d.id = v.discussion_id
    union all
    select -paired(v.comment_id, v.user_id), v.comment_id, v.value, k.created_at, type_of_comments(), v.user_id
    from comment_votes v left join comments k on k.id = v.comment_id;

create view articles_discussionsubscription as
    select paired(p.id, f.user_id) as id, ca.created_at as subscribed_at, f.level = 'follow' as is_active,
           f.article_id, f.community_id, p.id as community_article_id, f.user_id
    from article_follows f
    join community_articles ca on ca.community_id = f.community_id and ca.article_id = f.article_id
    join (select community_id, article_id, min(id) as id from public.communities_communityarticle group by 1, 2) p
        on p.community_id = f.community_id and p.article_id = f.article_id;

create view articles_discussionsummary as
    select p.id, s.text as content, s.created_at, s.updated_at, p.id as community_article_id,
           coalesce((select r.author_id from summary_revisions r
                     where r.community_id = s.community_id and r.article_id = s.article_id order by r.revision limit 1),
                    s.author_id) as created_by_id,
           s.author_id as last_updated_by_id
    from summaries s
    join (select community_id, article_id, min(id) as id from public.communities_communityarticle group by 1, 2) p
        on p.community_id = s.community_id and p.article_id = s.article_id
    where s.text is not null;

-- What is unread, of members. The table has other flags too, which stay there. Newer databases call it articles_entityflag.
do $$
declare
    flags constant text := case when to_regclass('public.articles_entityflag') is null then 'articles_userflag' else 'articles_entityflag' end;
begin
    execute format($view$
        create view %1$I as
            select f.id, f.flag_type, f.entity_type, f.entity_id::bigint as entity_id, f.created_at, f.user_id
            from public.%1$I f where f.flag_type <> 'unread' or f.entity_type not in ('discussion', 'comment')
            union all
            select paired(d.id, m.user_id), 'unread', 'discussion', d.id, d.created_at, m.user_id
            from memberships m
            join discussions d on d.community_id = m.community_id
            left join read_states r on r.user_id = m.user_id and r.discussion_id = d.id
            where is_unread(d.author_id, d.created_at, d.deleted_at, m.user_id, m.created_at) and r.is_read is not true
            union all
            select -paired(k.id, m.user_id), 'unread', 'comment', k.id, k.created_at, m.user_id
            from memberships m
            join discussions d on d.community_id = m.community_id
            join comments k on k.discussion_id = d.id
            left join read_states r on r.user_id = m.user_id and r.discussion_id = d.id
            where is_unread(k.author_id, k.created_at, k.deleted_at, m.user_id, m.created_at)
              and not k.id <@ coalesce(r.comments, '{}'::int8multirange)
        $view$, flags);
end $$;

-- Whether a new row is of the kind that stays at Django.
create function stays_at_django(of_table text, of_row jsonb) returns boolean
language sql immutable as $$
    select case of_table
        when 'articles_reaction' then (of_row ->> 'content_type_id')::integer not in (type_of_discussions(), type_of_comments())
        when 'articles_userflag' then of_row ->> 'flag_type' <> 'unread' or of_row ->> 'entity_type' not in ('discussion', 'comment')
        when 'articles_entityflag' then of_row ->> 'flag_type' <> 'unread' or of_row ->> 'entity_type' not in ('discussion', 'comment')
        else false
    end
$$;

-- Rows that stay at Django are written there. Others are refused, save that Django may delete them with a person, a community or an
-- article: then nothing happens here, because what people wrote stays.
create function written() returns trigger
language plpgsql as $$
declare
    -- Without its id, which Django's table gives, and without what only a view has.
    given jsonb;
    names text;
begin
    if tg_op = 'DELETE' then
        if stays_at_django(tg_table_name, to_jsonb(old)) then
            execute format('delete from public.%I where id = $1', tg_table_name) using old.id;
        end if;
        return old;
    end if;
    if not stays_at_django(tg_table_name, to_jsonb(new)) or (tg_op = 'UPDATE' and not stays_at_django(tg_table_name, to_jsonb(old))) then
        -- When a person is deleted, Django takes their name from the summaries first.
        if tg_op = 'UPDATE' and tg_table_name = 'articles_discussionsummary'
           and (to_jsonb(new) - '{created_by_id,last_updated_by_id}'::text[]) = (to_jsonb(old) - '{created_by_id,last_updated_by_id}'::text[])
           and 'null' in (to_jsonb(new) -> 'created_by_id', to_jsonb(new) -> 'last_updated_by_id') then
            return new;
        end if;
        raise exception '% is a view that can only be read: this is written at the discussions server now', tg_table_name
            using errcode = 'feature_not_supported', hint = 'The way back is: discussions django-views --drop';
    end if;
    if tg_op = 'UPDATE' then
        given := to_jsonb(new) - 'id';
        select string_agg(format('%I', key), ', ' order by key) into names from jsonb_object_keys(given) key;
        execute format('update public.%1$I set (%2$s) = (select %2$s from jsonb_populate_record(null::public.%1$I, $1)) where id = $2',
                       tg_table_name, names) using given, old.id;
        return new;
    end if;
    if new.id is null then
        new.id := nextval(pg_get_serial_sequence(format('public.%I', tg_table_name), 'id'));
    end if;
    execute format('insert into public.%1$I select (jsonb_populate_record(null::public.%1$I, $1)).*', tg_table_name) using to_jsonb(new);
    return new;
end $$;

-- When Django deletes a person, a community or an article, it deletes what hangs on them first, and looks for it in the views. What its
-- own tables still have from before must go too, or their foreign keys would refuse the deletion.
create function leftovers_gone() returns trigger
language plpgsql as $$
declare
    flags constant text := case when to_regclass('public.articles_entityflag') is null then 'articles_userflag' else 'articles_entityflag' end;
begin
    case tg_table_name
    when 'user' then
        execute format('delete from public.%I where user_id = $1', flags) using old.id;
        delete from public.articles_reaction
        where user_id = old.id and content_type_id in (type_of_discussions(), type_of_comments());
        delete from public.articles_discussionsubscription where user_id = old.id;
        update public.articles_discussionsummary set created_by_id = null where created_by_id = old.id;
        update public.articles_discussionsummary set last_updated_by_id = null where last_updated_by_id = old.id;
        perform discussions_gone(array(select id from public.articles_discussion where author_id = old.id));
        perform comments_gone(array(select id from public.articles_discussioncomment where author_id = old.id));
    when 'communities_community' then
        delete from public.articles_discussionsubscription where community_id = old.id;
        perform discussions_gone(array(select id from public.articles_discussion where community_id = old.id));
        perform comments_gone(array(select id from public.articles_discussioncomment where community_id = old.id));
    when 'articles_article' then
        delete from public.articles_discussionsubscription where article_id = old.id;
        perform discussions_gone(array(select id from public.articles_discussion where article_id = old.id));
    else
        delete from public.articles_discussionsubscription where community_article_id = old.id;
        delete from public.articles_discussionsummary where community_article_id = old.id;
    end case;
    return old;
end $$;

create function comments_gone(ids bigint[]) returns void
language sql as $$
    with recursive gone as (
        select id from public.articles_discussioncomment where id = any(ids)
        union
        select k.id from public.articles_discussioncomment k join gone on k.parent_id = gone.id
    )
    delete from public.articles_discussioncomment where id in (select id from gone)
$$;

create function discussions_gone(ids bigint[]) returns void
language sql as $$
    select comments_gone(array(select id from public.articles_discussioncomment where discussion_id = any(ids)));
    delete from public.articles_discussion where id = any(ids)
$$;

do $$
declare
    views  constant text := current_schema();
    viewed text;
    reader text;
    called text;
begin
    for called in select p.oid::regprocedure from pg_proc p where p.pronamespace = views::regnamespace and prokind = 'f'
                  and p.proname in ('written', 'leftovers_gone', 'comments_gone', 'discussions_gone', 'stays_at_django') loop
        execute format('alter function %s set search_path = pg_catalog, %I, pg_temp', called, views);
    end loop;
    for viewed in select viewname from pg_views where schemaname = views loop
        execute format('create trigger written instead of insert or update or delete on %I for each row execute function written()', viewed);
        -- Whoever may read Django's table may read the view.
        for reader in select distinct case grantee when 'PUBLIC' then 'public' else quote_ident(grantee) end
                      from information_schema.role_table_grants
                      where table_schema = 'public' and table_name = viewed and privilege_type = 'SELECT' loop
            execute format('grant usage on schema %I to %s', views, reader);
            execute format('grant select, insert, update, delete on %I to %s', viewed, reader);
        end loop;
    end loop;
    foreach viewed in array array['user', 'communities_community', 'articles_article', 'communities_communityarticle'] loop
        execute format('create trigger discussions_leftovers_gone before delete on public.%I for each row execute function leftovers_gone()', viewed);
    end loop;
end $$;
