-- Following: triggers on Django's own tables put a changed row into the mirror and merge it, in Django's transaction. If anything fails in
-- there, Django's statement succeeds all the same: the row stays pending, and the reason is kept. "Others" are not all errors for PostgreSQL:
-- a statement_timeout of Django's that ends a wait of ours is named beside them.

-- What failed, until it is merged.
create table if not exists django.failures (
    kind   text not null,
    id     bigint not null,
    reason text not null,
    -- When it was tried last, and how often.
    at     timestamptz not null default clock_timestamp(),
    tries  integer not null default 1,
    primary key (kind, id)
);

-- Django's tables that are followed, in the order in which they are merged. `is_content` says that a table is followed only while Django
-- writes the discussions. `role` is for the three lists of roles, which share a mirror.
create or replace function django.sources() returns table (source text, mirror text, role text, is_content boolean)
language sql immutable as $$
    values ('user', 'users', null, false),
           ('communities_community', 'communities', null, false),
           ('communities_membership', 'memberships', null, false),
           ('communities_community_admins', 'roles', 'admin', false),
           ('communities_community_moderators', 'roles', 'moderator', false),
           ('communities_community_reviewers', 'roles', 'reviewer', false),
           ('articles_article', 'articles', null, false),
           ('communities_communityarticle', 'community_articles', null, false),
           ('articles_anonymousidentity', 'pseudonyms', null, true),
           ('articles_discussion', 'discussions', null, true),
           ('articles_discussioncomment', 'comments', null, true),
           ('articles_reaction', 'votes', null, true),
           ('articles_discussionsummary', 'summaries', null, true)
$$;

-- The name under which failures and refusals speak of a mirror's rows.
create or replace function django.kind_of(of_mirror text, of_role text) returns text
language sql immutable as $$ select coalesce(of_role || 's', of_mirror) $$;

-- The columns that a mirror and Django's table share, and an expression for each.
create or replace function django.shared_columns(of_source text, of_mirror text, of_role text)
returns table (names text, expressions text)
language sql stable as $$
    select string_agg(quote_ident(m.attname), ', ' order by m.attnum),
           string_agg(case when m.attname = 'kind' then format('%L as kind', of_role)
                           when m.attname = 'target' then $target$case t.model when 'discussion' then 'discussion' else 'comment' end as target$target$
                           else 's.' || quote_ident(m.attname) end, ', ' order by m.attnum)
    from pg_attribute m
    where m.attrelid = format('django.%I', of_mirror)::regclass and m.attnum > 0 and not m.attisdropped
      and (m.attname = 'target' and of_mirror = 'votes' or m.attname = 'kind' and of_mirror = 'roles'
           or exists (select from pg_attribute d where d.attrelid = format('public.%I', of_source)::regclass
                      and d.attname = m.attname and d.attnum > 0 and not d.attisdropped))
$$;

-- A query for Django's rows as the mirror has them. $1 are the ids; null for all.
create or replace function django.source_query(of_source text, of_mirror text, of_role text) returns text
language sql stable as $$
    select format('select %s from public.%I s %s where ($1::bigint[] is null or s.id = any($1))', expressions, of_source,
                  case when of_mirror = 'votes' then
                      $join$join public.django_content_type t on t.id = s.content_type_id and t.app_label = 'articles' and t.model in ('discussion', 'discussioncomment')$join$
                  else '' end)
    from django.shared_columns(of_source, of_mirror, of_role)
$$;

-- Copies rows of Django into the mirror: those with these ids, or all. Returns the ids of those that are pending then.
create or replace function django.copy(of_source text, of_mirror text, of_role text, ids bigint[]) returns bigint[]
language plpgsql as $$
declare
    names   text;
    query   text;
    in_role text := case when of_role is null then '' else format('and m.kind = %L', of_role) end;
    pending bigint[];
begin
    select c.names into strict names from django.shared_columns(of_source, of_mirror, of_role) c;
    query := django.source_query(of_source, of_mirror, of_role);
    execute format(
        'insert into django.%1$I (%2$s)
         select %7$s from (%3$s) s left join django.%1$I m on m.id = s.id %8$s
         where m.id is null or m.is_gone or (%6$s) is distinct from (%7$s)
         on conflict (%4$s) do update set (%2$s, is_pending, is_gone) = (%5$s, true, false)',
        of_mirror, names, query,
        case when of_role is null then 'id' else 'kind, id' end,
        (select string_agg('excluded.' || n, ', ') from regexp_split_to_table(names, ', ') n),
        (select string_agg('m.' || n, ', ') from regexp_split_to_table(names, ', ') n),
        (select string_agg('s.' || n, ', ') from regexp_split_to_table(names, ', ') n), in_role) using ids;
    execute format(
        'update django.%1$I m set is_gone = true, is_pending = true
         where ($1::bigint[] is null or m.id = any($1)) and not m.is_gone %2$s
           and not exists (select from (%3$s) s where s.id = m.id)',
        of_mirror, in_role, query) using ids;
    execute format('select array_agg(m.id order by m.id) from django.%I m where m.is_pending and ($1::bigint[] is null or m.id = any($1)) %s',
                   of_mirror, in_role) into pending using ids;
    return pending;
end $$;

-- Merges rows of one mirror, with the events if Django writes the discussions.
create or replace function django.merge(of_mirror text, of_role text, ids bigint[]) returns void
language plpgsql as $$
declare
    i bigint;
begin
    if of_mirror = 'roles' then
        perform django.merge_roles(of_role, ids);
    elsif django.setting('writer') = 'django' and of_mirror in ('discussions', 'comments', 'votes', 'summaries') then
        for i in select distinct unnest(ids) order by 1 loop
            perform django.merge_and_tell(of_mirror, i);
        end loop;
    else
        execute format('select django.merge_%I($1)', of_mirror) using ids;
    end if;
    delete from django.failures f where f.kind = django.kind_of(of_mirror, of_role) and f.id = any(ids);
end $$;

-- What the triggers do. Null for `ids` means all rows.
create or replace function django.follow_rows(of_source text, of_mirror text, of_role text, ids bigint[]) returns void
language plpgsql as $$
declare
    changed bigint[] := django.copy(of_source, of_mirror, of_role, ids);
begin
    if changed is not null then
        perform django.merge(of_mirror, of_role, changed);
    end if;
    perform django.retry();
end $$;

-- Tries again what failed, unless somebody else does. A membership that has ended must not wait for the next change of a membership, so
-- any change of Django's does it. It waits the longer, the more often it has failed, and waits for no lock, because it is no business of
-- the statement that it is done in.
create or replace function django.retry() returns void
language plpgsql
set lock_timeout = '100ms'
as $$
declare
    t       record;
    changed bigint[];
begin
    for t in
        select s.source, s.mirror, s.role, w.kind, array_agg(w.id order by w.id) as ids
        from (select f.kind, f.id from django.failures f
              where f.at < clock_timestamp() - make_interval(secs => least(f.tries * f.tries, 300))
              order by f.at limit 20 for update skip locked) w
        join django.sources() s on django.kind_of(s.mirror, s.role) = w.kind
        where django.is_followed(s.source)
        group by 1, 2, 3, 4
    loop
        begin
            -- 0 stands for all rows.
            changed := django.copy(t.source, t.mirror, t.role, case when 0 = any(t.ids) then null else t.ids end);
            perform django.merge(t.mirror, t.role, coalesce(changed, t.ids));
            delete from django.failures f where f.kind = t.kind and f.id = any(t.ids);
        exception when query_canceled or others then
            update django.failures f set at = clock_timestamp(), tries = f.tries + 1, reason = sqlerrm
            where f.kind = t.kind and f.id = any(t.ids);
        end;
    end loop;
end $$;

-- Keeps a failure. The row stays pending.
create or replace function django.note_failure(of_source text, of_mirror text, of_role text, ids bigint[], of_reason text) returns void
language plpgsql as $$
begin
    begin
        perform django.copy(of_source, of_mirror, of_role, ids);
    exception when query_canceled or others then
        null; -- A later run of the import sees the change.
    end;
    insert into django.failures (kind, id, reason)
    select django.kind_of(of_mirror, of_role), i, of_reason from unnest(coalesce(ids, array[0])) as i
    on conflict (kind, id) do update set reason = excluded.reason, at = excluded.at;
exception when query_canceled or others then
    raise warning 'the discussions server could not keep that it failed to follow %: %', of_source, sqlerrm;
end $$;

-- A membership is made of several rows of Django, and so is a place. Transactions that change rows of the same one take turns, because
-- each sees only what is committed of the others. There is a bounded number of locks, so that a community may have any number of members.
create or replace function django.take_turns(of_mirror text, places bigint[], others bigint[]) returns void
language plpgsql as $$
declare
    key integer;
begin
    for key in
        select distinct hashtext(format('%s %s', p.place, p.other)) & 255 from unnest(places, others) as p (place, other) order by 1
    loop
        perform pg_advisory_xact_lock(x'646a616e'::integer, key + case of_mirror when 'community_articles' then 256 else 0 end);
    end loop;
end $$;

-- The trigger on each of Django's tables. Its arguments are the mirror and the role. One call is for all rows of a statement.
create or replace function django.follow() returns trigger
language plpgsql security definer
-- Django does not wait long for locks of ours, and gets no notices of ours.
set lock_timeout = '2s'
set client_min_messages = 'warning'
as $$
declare
    of_mirror constant text := tg_argv[0];
    of_role   constant text := nullif(tg_argv[1], '');
    ids    bigint[];
    one    bigint;
    state  text;
    reason text;
begin
    if tg_op <> 'TRUNCATE' then
        if tg_op = 'UPDATE' then
            ids := array(select id from before union select id from changed order by 1);
        else
            ids := array(select id from changed order by 1);
        end if;
        if ids = '{}' then
            return null;
        end if;
    end if;
    begin
        if of_mirror in ('memberships', 'roles') then
            if tg_op = 'UPDATE' then
                perform django.take_turns(of_mirror, array_agg(community_id), array_agg(user_id))
                from (select community_id, user_id from before union select community_id, user_id from changed) pairs;
            elsif tg_op <> 'TRUNCATE' then
                perform django.take_turns(of_mirror, array_agg(community_id), array_agg(user_id)) from changed;
            end if;
        elsif of_mirror = 'community_articles' then
            if tg_op = 'UPDATE' then
                perform django.take_turns(of_mirror, array_agg(community_id), array_agg(article_id))
                from (select community_id, article_id from before union select community_id, article_id from changed) pairs;
            elsif tg_op <> 'TRUNCATE' then
                perform django.take_turns(of_mirror, array_agg(community_id), array_agg(article_id)) from changed;
            end if;
        end if;
        perform django.follow_rows(tg_table_name, of_mirror, of_role, ids);
    exception when query_canceled or others then
        get stacked diagnostics state = returned_sqlstate, reason = message_text;
        if cardinality(ids) between 2 and 1000 and state not in ('55P03', '40P01', '57014') then
            -- One row may be to blame. The others follow.
            foreach one in array ids loop
                begin
                    perform django.follow_rows(tg_table_name, of_mirror, of_role, array[one]);
                exception when query_canceled or others then
                    perform django.note_failure(tg_table_name, of_mirror, of_role, array[one], sqlerrm);
                end;
            end loop;
        else
            perform django.note_failure(tg_table_name, of_mirror, of_role, ids, reason);
        end if;
    end;
    return null;
exception when query_canceled or others then
    raise warning 'the discussions server failed to follow %: %', tg_table_name, sqlerrm;
    return null;
end $$;

-- Whether all triggers of following are on one of Django's tables, and at work.
create or replace function django.is_followed(of_source text) returns boolean
language sql stable as $$
    select count(*) = 4 from pg_trigger g
    where g.tgrelid = to_regclass(format('public.%I', of_source)) and g.tgfoid = 'django.follow()'::regprocedure and g.tgenabled in ('O', 'A')
$$;

-- While Django writes the discussions, this server's own writes are refused. A statement of a merge passes, and what foreign keys do.
create or replace function django.refuse_write() returns trigger
language plpgsql as $$
declare
    callers text;
begin
    -- The functions that this runs in. A setting of theirs would be simpler, but only a superuser may give a function one that PostgreSQL
    -- does not know.
    get diagnostics callers = pg_context;
    if pg_trigger_depth() > 1 or callers ~ '\mdjango\.merge_' then
        return null;
    end if;
    raise exception 'Django writes the discussions' using errcode = 'read_only_sql_transaction', constraint = 'django_writes';
end $$;

-- Drops the triggers on one of Django's tables. Returns whether there were any.
create or replace function django.drop_triggers(of_source text) returns boolean
language plpgsql as $$
declare
    trigger text;
    dropped boolean := false;
begin
    for trigger in select g.tgname from pg_trigger g
                   where g.tgrelid = to_regclass(format('public.%I', of_source)) and g.tgfoid = 'django.follow()'::regprocedure loop
        execute format('drop trigger %I on public.%I', trigger, of_source);
        dropped := true;
    end loop;
    return dropped;
end $$;

-- Stops following. Returns the tables of Django that were followed.
create or replace function django.unfollow(only_content boolean default false) returns text[]
language plpgsql as $$
declare
    followed text[] := '{}';
    t        record;
begin
    for t in select s.source from django.sources() s where s.is_content or not only_content loop
        if django.drop_triggers(t.source) then
            followed := followed || t.source;
        end if;
    end loop;
    for t in select g.tgrelid::regclass as of_table from pg_trigger g where g.tgfoid = 'django.refuse_write()'::regprocedure loop
        execute format('drop trigger django_writes on %s', t.of_table);
    end loop;
    if django.setting('writer') = 'django' then
        delete from django.settings where name = 'writer';
        -- This server gives ids again.
        perform django.move_sequences();
    end if;
    return followed;
end $$;

-- Begins to follow. Django's writes wait meanwhile, so nothing falls between what the mirror takes in here and what the triggers bring.
create or replace function django.begin_following(with_discussions boolean) returns void
language plpgsql
set client_min_messages = 'warning'
as $$
declare
    t      record;
    event  text;
    events text[];
    ids    bigint[];
begin
    for t in select * from django.sources() s where with_discussions or not s.is_content loop
        execute format('lock table public.%I in share row exclusive mode', t.source);
    end loop;
    -- Dropping a trigger stops reads too. So those that are there stay.
    if not with_discussions then
        perform django.unfollow(true);
    end if;
    perform django.move_sequences();
    if with_discussions then
        insert into django.settings (name, value) values ('writer', 'django') on conflict (name) do update set value = excluded.value;
        for t in select ours from unnest('{discussions,comments,discussion_votes,comment_votes,summaries}'::text[]) as ours
                 where not exists (select from pg_trigger g where g.tgrelid = ours::regclass and g.tgfoid = 'django.refuse_write()'::regprocedure) loop
            execute format('create trigger django_writes before insert or update or delete on %I for each statement execute function django.refuse_write()', t.ours);
        end loop;
    end if;
    for t in select * from django.sources() s where with_discussions or not s.is_content loop
        if not django.is_followed(t.source) then
            -- One that somebody has disabled.
            perform django.drop_triggers(t.source);
            events := array['insert', 'update', 'delete', 'truncate'];
        else
            events := '{}';
        end if;
        foreach event in array events loop
            execute format('create trigger discussions_follow_%1$s after %1$s on public.%2$I %3$s for each statement execute function django.follow(%4$L, %5$L)',
                           event, t.source,
                           case event when 'insert' then 'referencing new table as changed' when 'delete' then 'referencing old table as changed'
                                      when 'update' then 'referencing old table as before new table as changed' else '' end,
                           t.mirror, coalesce(t.role, ''));
        end loop;
        ids := django.copy(t.source, t.mirror, t.role, null);
        if ids is not null then
            perform django.merge(t.mirror, t.role, ids);
        end if;
    end loop;
    -- All that is followed is as Django has it.
    delete from django.failures;
end $$;

-- The mirrors that the triggers keep.
create or replace function django.followed_mirrors() returns setof text
language sql stable as $$
    select s.mirror from django.sources() s
    group by s.mirror
    having bool_and(django.is_followed(s.source))
$$;

-- How far each table is followed: whether its triggers are there and at work, rows that are pending, rows in which the mirror is not what
-- Django has, and failures.
create or replace function django.following()
returns table (source text, is_followed boolean, pending bigint, behind bigint, failures bigint)
language plpgsql stable as $$
#variable_conflict use_column
declare
    t record;
    names text;
begin
    for t in select * from django.sources() loop
        source := t.source;
        is_followed := django.is_followed(t.source);
        select c.names into names from django.shared_columns(t.source, t.mirror, t.role) c;
        execute format('select count(*) filter (where is_pending) from django.%I m where %s', t.mirror,
                       case when t.role is null then 'true' else format('m.kind = %L', t.role) end) into pending;
        execute format(
            'select count(*) from (%1$s) s full join (select %2$s from django.%3$I where not is_gone %4$s) m on m.id = s.id
             where (%5$s) is distinct from (%6$s)',
            replace(replace(django.source_query(t.source, t.mirror, t.role), '$1::bigint[]', 'null::bigint[]'), '($1)', '(null::bigint[])'), names, t.mirror,
            case when t.role is null then '' else format('and kind = %L', t.role) end,
            (select string_agg('s.' || n, ', ') from regexp_split_to_table(names, ', ') n),
            (select string_agg('m.' || n, ', ') from regexp_split_to_table(names, ', ') n)) into behind;
        select count(*) into failures from django.failures f where f.kind = django.kind_of(t.mirror, t.role);
        return next;
    end loop;
end $$;
