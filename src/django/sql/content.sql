-- How what people wrote at Django becomes ours. See directory.sql.

-- The place of what has no community at Django is in the open community.
create or replace function django.community_of(of_community bigint) returns bigint
language sql stable as $$
    select coalesce(of_community, django.open_community())
$$;

-- Makes places (community, article) that are not listed at Django, where somebody wrote all the same.
create or replace function django.make_places(communities_of bigint[], articles_of bigint[]) returns void
language sql as $$
    insert into community_articles (community_id, article_id, created_at)
    select distinct c.id, a.id, a.created_at
    from unnest(communities_of, articles_of) as p (c, a)
    join communities c on c.id = p.c
    join articles a on a.id = p.a
    on conflict do nothing
$$;

-- Makes users for authors who are not there any more.
create or replace function django.make_authors(ids bigint[]) returns void
language sql as $$
    insert into users (id, username, is_active)
    select distinct i, 'deleted-' || i, false from unnest(ids) as i where not exists (select from users u where u.id = i)
    on conflict do nothing
$$;

-- Whether a row that has vanished at Django was deleted there by itself. Django's API deletes by a mark. What vanishes with what it hangs on is
-- the work of a cascade, which leaves alone what was written. So it counts only while Django is the one that writes. What was erased by an earlier
-- transaction stays so.
create or replace function django.is_erased(m django.discussions) returns boolean
language sql stable as $$
    select m.is_gone and case
        when m.erased_by is not null and m.erased_by <> pg_current_xact_id() then true
        when m.erased_by is null and not m.is_pending then false
        else coalesce(django.setting('writer') = 'django', false)
             and not exists (select from django.users u where u.id = m.author_id and u.is_gone)
             and not exists (select from django.articles a where a.id = m.article_id and a.is_gone)
             and not exists (select from django.communities c where c.id = m.community_id and c.is_gone)
    end
$$;
create or replace function django.is_erased(m django.comments) returns boolean
language sql stable as $$
    select m.is_gone and case
        when m.erased_by is not null and m.erased_by <> pg_current_xact_id() then true
        when m.erased_by is null and not m.is_pending then false
        else coalesce(django.setting('writer') = 'django', false)
             and not exists (select from django.users u where u.id = m.author_id and u.is_gone)
             and not exists (select from django.comments p where p.id = m.parent_id and p.is_gone)
             and not exists (
                 select from django.discussions d
                 left join django.articles a on a.id = d.article_id
                 left join django.communities c on c.id = d.community_id
                 where d.id = m.discussion_id and (d.is_gone or a.is_gone or c.is_gone))
    end
$$;

-- Brings back what this transaction took for erased, where what it hangs on has gone since: Django deletes the ends of a cascade first.
create or replace function django.bring_back(discussions_of bigint[], comments_of bigint[]) returns void
language plpgsql as $$
declare
    i bigint;
begin
    for i in select m.id from django.discussions m where m.id = any(discussions_of) and not django.is_erased(m) order by 1 loop
        perform django.merge('discussions', null, array[i]);
    end loop;
    for i in select m.id from django.comments m where m.id = any(comments_of) and not django.is_erased(m) order by 1 loop
        perform django.merge('comments', null, array[i]);
    end loop;
end $$;
-- All of that.
create or replace function django.bring_back_all() returns void
language sql as $$
    select django.bring_back(
        array(select id from django.discussions where erased_by = pg_current_xact_id()),
        array(select id from django.comments where erased_by = pg_current_xact_id()))
$$;

-- A name that no other pseudonym has at this place: the wanted one, or that with a number.
create or replace function django.free_name(community bigint, article bigint, wanted text, own_id bigint) returns text
language plpgsql stable as $$
declare
    candidate text := wanted;
    number    integer := 1;
begin
    while exists (select from pseudonyms p
                  where p.community_id = community and p.article_id = article and p.name = candidate and p.id is distinct from own_id) loop
        number := number + 1;
        candidate := wanted || ' ' || number;
    end loop;
    return candidate;
end $$;

create or replace function django.merge_pseudonyms(ids bigint[]) returns void
language plpgsql as $$
declare
    m        record;
    place    bigint;
    first_id bigint;
    own_id   bigint;
    is_known boolean;
    wanted   text;
    shown    text;
    made     constant bigint := django.setting('made_pseudonyms')::bigint;
begin
    perform django.forget('pseudonyms', ids);
    perform django.make_places(array_agg(django.community_of(d.community_id)), array_agg(d.article_id))
    from (select distinct d.community_id, d.article_id
          from django.pseudonyms s
          join django.discussions d on d.article_id = s.article_id and d.community_id is not distinct from s.community_id
          where s.id = any(ids)) d;
    for m in select * from django.pseudonyms where id = any(ids) and not is_gone order by id loop
        place := django.community_of(m.community_id);
        select min(o.id) into first_id from django.pseudonyms o
        where o.article_id = m.article_id and o.user_id = m.user_id and not o.is_gone
          and o.community_id is not distinct from m.community_id;
        -- One that is here already, for the same person, at the same place. Django writes a first text before its author's pseudonym. So the
        -- one that was made for that text becomes Django's, and keeps its id.
        select coalesce(min(p.id), m.id) into own_id from pseudonyms p
        where p.community_id = place and p.article_id = m.article_id and p.user_id = m.user_id;
        if first_id = m.id and own_id <> m.id and (own_id >= made and own_id < made + 500000) is not true then
            first_id := own_id;
        end if;
        if first_id <> m.id then
            insert into django.refusals values ('pseudonyms', m.id, 'doubled', format('user %s has pseudonym %s on article %s of community %s', m.user_id, first_id, m.article_id, place));
        elsif not exists (select from community_articles p where p.community_id = place and p.article_id = m.article_id) then
            insert into django.refusals values ('pseudonyms', m.id, 'no_place', format('article %s has no discussions in community %s', m.article_id, place));
        elsif not exists (select from users u where u.id = m.user_id) then
            insert into django.refusals values ('pseudonyms', m.id, 'no_user', format('there is no user %s', m.user_id));
        else
            wanted := case when django.is_blank(m.fake_name) then 'Anonymous ' || m.id else m.fake_name end;
            shown := django.free_name(place, m.article_id, wanted, own_id);
            is_known := exists (select from pseudonyms p where p.id = own_id);
            insert into pseudonyms (id, community_id, article_id, user_id, name, avatar_url, created_at)
            overriding system value
            select own_id, p.community_id, p.article_id, m.user_id, shown, django.picture(m.identicon), p.created_at
            from community_articles p where p.community_id = place and p.article_id = m.article_id
            on conflict (id) do update set name = excluded.name, avatar_url = excluded.avatar_url
                where (pseudonyms.name, pseudonyms.avatar_url) is distinct from (excluded.name, excluded.avatar_url);
            if found and is_known then
                perform django.sign_anew(own_id);
            end if;
            if wanted <> m.fake_name then
                insert into django.repairs values ('pseudonyms', m.id, 'name_empty', format('it is called %s', shown));
            elsif shown <> wanted then
                insert into django.repairs values ('pseudonyms', m.id, 'name_doubled', format('%L is called %s', m.fake_name, shown));
            end if;
            if btrim(coalesce(m.identicon, '')) <> '' and django.picture(m.identicon) is null then
                insert into django.repairs values ('pseudonyms', m.id, 'picture_unreadable', 'it has no picture');
            end if;
        end if;
    end loop;
    update django.pseudonyms set is_pending = false where id = any(ids) and is_pending;
end $$;

-- Says the new name of a pseudonym in the quotes of what it signs, and tells of both where Django writes.
create or replace function django.sign_anew(of_pseudonym bigint) returns void
language plpgsql as $$
declare
    signed record;
begin
    delete from django.repairs r using pseudonyms p, discussions d
    where p.id = of_pseudonym and d.author_id = p.user_id and d.pseudonym_id = p.id and r.kind = 'discussions' and r.id = d.id and r.repair = 'pseudonym_made';
    delete from django.repairs r using pseudonyms p, comments k
    where p.id = of_pseudonym and k.author_id = p.user_id and k.pseudonym_id = p.id and r.kind = 'comments' and r.id = k.id and r.repair = 'pseudonym_made';
    if django.setting('writer') = 'django' then
        for signed in select d.id, d.community_id from pseudonyms p join discussions d on d.author_id = p.user_id and d.pseudonym_id = p.id
                      where p.id = of_pseudonym and d.deleted_at is null order by d.id loop
            perform django.tell(signed.community_id, 'updated_discussion', django.discussion_state(signed.id));
        end loop;
        for signed in select k.id, d.community_id from pseudonyms p join comments k on k.author_id = p.user_id and k.pseudonym_id = p.id
                      join discussions d on d.id = k.discussion_id
                      where p.id = of_pseudonym and k.deleted_at is null order by k.id loop
            perform django.tell(signed.community_id, 'updated_comment', django.comment_state(signed.id));
        end loop;
        perform pg_notify('outbox', '');
    end if;
    perform django.quote_anew(array(
        select k.id from pseudonyms p join comments k on k.author_id = p.user_id and k.pseudonym_id = p.id where p.id = of_pseudonym));
end $$;

-- Makes pseudonyms for those who wrote under one at a place and have none. The name is that of the first thing that they wrote there, as it
-- must say nothing else of the person. The ids are between Django's and those that the server gives: see django.move_sequences.
create or replace function django.make_pseudonyms(communities_of bigint[], articles_of bigint[], users_of bigint[]) returns void
language plpgsql as $$
declare
    p      record;
    new_id bigint;
    thing  bigint;
begin
    for p in
        select distinct c.c as community_id, c.a as article_id, c.u as user_id, e.created_at
        from unnest(communities_of, articles_of, users_of) as c (c, a, u)
        join community_articles e on e.community_id = c.c and e.article_id = c.a
        where not exists (select from pseudonyms s where s.community_id = c.c and s.article_id = c.a and s.user_id = c.u)
        order by 1, 2, 3
    loop
        select coalesce(
            (select min(d.id) from django.discussions d
             where d.is_pseudonymous and d.author_id = p.user_id and d.article_id = p.article_id and django.community_of(d.community_id) = p.community_id),
            (select min(k.id) from django.comments k join django.discussions d on d.id = k.discussion_id
             where k.is_pseudonymous and k.author_id = p.user_id and d.article_id = p.article_id and django.community_of(d.community_id) = p.community_id),
            p.article_id) into strict thing;
        select coalesce(max(s.id) + 1, django.setting('made_pseudonyms')::bigint) into strict new_id
        from pseudonyms s
        where s.id >= django.setting('made_pseudonyms')::bigint and s.id < django.setting('made_pseudonyms')::bigint + 500000;
        insert into pseudonyms (id, community_id, article_id, user_id, name, created_at)
        overriding system value
        values (new_id, p.community_id, p.article_id, p.user_id, django.free_name(p.community_id, p.article_id, 'Anonymous ' || thing, null),
                p.created_at);
    end loop;
end $$;

-- When something was edited; null if it never was. Django sets both times of a new row, one after the other.
create or replace function django.edit_time(created_at timestamptz, updated_at timestamptz) returns timestamptz
language sql immutable parallel safe as $$
    select case when updated_at > created_at + interval '1 second' then updated_at end
$$;

-- Whether a moment is in the future, and not only for a clock of Django's that is fast.
create or replace function django.is_in_future(of_moment timestamptz) returns boolean
language sql stable as $$
    select of_moment > clock_timestamp() + interval '1 minute'
$$;

create or replace function django.merge_discussions(ids bigint[]) returns void
language plpgsql as $$
begin
    perform django.forget('discussions', ids);
    perform django.make_places(array_agg(django.community_of(m.community_id)), array_agg(m.article_id))
    from django.discussions m where m.id = any(ids) and not m.is_gone;
    perform django.make_authors(array_agg(m.author_id)) from django.discussions m where m.id = any(ids);
    perform django.make_pseudonyms(array_agg(django.community_of(m.community_id)), array_agg(m.article_id), array_agg(m.author_id))
    from django.discussions m where m.id = any(ids) and m.is_pseudonymous;

    insert into discussions as d (id, community_id, article_id, author_id, pseudonym_id, topic, text, is_resolved, created_at, updated_at,
                                  deleted_at, edited_at, resolved_at)
    overriding system value
    select m.id, place.community_id, m.article_id, m.author_id, s.id,
           case when m.is_deleted then '' else django.shown_topic(m.topic, m.content) end,
           case when m.is_deleted then '' else django.shown_text(m.content) end,
           m.is_resolved, m.created_at, coalesce(django.edit_time(m.created_at, m.updated_at), m.created_at),
           case when m.is_deleted then coalesce(m.deleted_at, m.updated_at) end,
           case when not m.is_resolved and not m.is_deleted then django.edit_time(m.created_at, m.updated_at) end,
           case when m.is_resolved then m.updated_at end
    from (select w.*, w.is_gone and django.is_erased(w) or w.deleted_at is not null or django.is_deletion_mark(w.content) as is_deleted
          from django.discussions w where w.id = any(ids)
          -- What vanished without being erased stays as it is, or as it was before it was taken for erased.
          and (not w.is_gone or w.erased_by is not null or django.is_erased(w) or not exists (select from discussions o where o.id = w.id))) m
    join community_articles place on place.community_id = django.community_of(m.community_id) and place.article_id = m.article_id
    left join pseudonyms s on m.is_pseudonymous and s.community_id = place.community_id and s.article_id = m.article_id and s.user_id = m.author_id
    order by m.id
    on conflict (id) do update
        set community_id = excluded.community_id, article_id = excluded.article_id, author_id = excluded.author_id,
            pseudonym_id = excluded.pseudonym_id, topic = excluded.topic, text = excluded.text, is_resolved = excluded.is_resolved,
            deleted_at = case when excluded.deleted_at is not null then coalesce(d.deleted_at, excluded.deleted_at) end,
            -- It is a version: it never goes back.
            updated_at = greatest(excluded.updated_at, d.updated_at + interval '1 microsecond'),
            -- An edit here finds them again.
            mentioned_users = case when d.text = excluded.text then d.mentioned_users end,
            mentioned_pseudonyms = case when d.text = excluded.text then d.mentioned_pseudonyms end
        where (d.community_id, d.article_id, d.author_id, d.pseudonym_id, d.topic, d.text, d.is_resolved, d.deleted_at is null)
              is distinct from (excluded.community_id, excluded.article_id, excluded.author_id, excluded.pseudonym_id, excluded.topic,
                                excluded.text, excluded.is_resolved, excluded.deleted_at is null);

    insert into django.repairs (kind, id, repair, detail)
    select 'discussions', m.id, found.repair, found.detail
    from django.discussions m
    join discussions d on d.id = m.id
    left join users u on u.id = m.author_id
    left join pseudonyms s on s.id = d.pseudonym_id
    cross join lateral (values
        (django.is_in_future(m.created_at), 'time_in_future', format('it was written at %s', m.created_at)),
        (m.deleted_at is null and django.is_deletion_mark(m.content), 'deleted_mark', format('deleted at %s', m.updated_at)),
        (d.deleted_at is null and django.clean_topic(m.topic) is null, 'topic_blank', format('its topic is %L', d.topic)),
        (d.deleted_at is null and django.clean_topic(m.topic) <> btrim(m.topic, E' \t\r\n'), 'topic_cleaned', format('its topic is %L', d.topic)),
        (d.deleted_at is null and django.is_blank(m.content), 'text_empty', 'its text says that it was empty'),
        (d.deleted_at is null and char_length(btrim(m.content, E' \t\r\n')) > 50000, 'text_cut', format('it had %s characters', char_length(m.content))),
        (m.community_id is not null and not exists (
            select from django.community_articles p where p.community_id = m.community_id and p.article_id = m.article_id),
         'place_missing', format('article %s has a place in community %s for it', m.article_id, m.community_id)),
        (m.is_pseudonymous and not exists (
            select from django.pseudonyms p
            where p.article_id = m.article_id and p.user_id = m.author_id and django.community_of(p.community_id) = d.community_id),
         'pseudonym_made', format('its author is called %s', s.name)),
        (not exists (select from django.users a where a.id = m.author_id), 'author_missing', format('its author is called %s', u.username))
    ) as found (applies, repair, detail)
    where m.id = any(ids) and not m.is_gone and found.applies;
    insert into django.refusals (kind, id, reason, detail)
    select 'discussions', m.id, case when a.id is null then 'no_article' else 'no_community' end,
           format('article %s, community %s', m.article_id, m.community_id)
    from django.discussions m left join articles a on a.id = m.article_id
    where m.id = any(ids) and not m.is_gone and not exists (select from discussions d where d.id = m.id);
    update django.discussions m set is_pending = false, erased_by = case when m.is_gone and django.is_erased(m) then coalesce(m.erased_by, pg_current_xact_id()) end
    where m.id = any(ids) and (m.is_pending or m.is_gone or m.erased_by is not null);
    perform django.bring_back(null, array(
        select k.id from django.comments k join django.discussions m on m.id = k.discussion_id
        where m.id = any(ids) and m.is_gone and k.erased_by = pg_current_xact_id()));
end $$;

-- Where a comment hangs in our tree. A parent counts if it is in the same discussion. In a circle of parents the comment with the lowest
-- id starts the branch. Whoever would be deeper than the third level hangs on the second one of their branch. `answers` is the parent at
-- Django if it is another one here, for the quote.
create or replace function django.comment_position(
    of_comment bigint, out parent_id bigint, out root_id bigint, out depth integer, out answers bigint, out repair text)
language plpgsql stable as $$
declare
    path   bigint[] := array[of_comment];
    here   record;
    above  record;
    circle bigint[];
begin
    select c.id, c.parent_id, c.discussion_id into here from django.comments c where c.id = of_comment;
    loop
        exit when here.parent_id is null;
        if here.parent_id = any(path) then
            circle := path[array_position(path, here.parent_id):];
            -- The path ends at the lowest of the circle.
            path := path[:array_position(path, (select min(i) from unnest(circle) as i))];
            if path[cardinality(path)] = of_comment then
                repair := 'parent_circle';
            end if;
            exit;
        end if;
        select c.id, c.parent_id, c.discussion_id into above from django.comments c where c.id = here.parent_id;
        if not found or above.discussion_id <> here.discussion_id then
            if here.id = of_comment then
                repair := case when above.id is null then 'parent_missing' else 'parent_elsewhere' end;
                answers := above.id;
            end if;
            exit;
        end if;
        path := path || above.id;
        here := above;
    end loop;
    root_id := path[cardinality(path)];
    depth := least(cardinality(path), 3);
    if cardinality(path) <= 3 then
        parent_id := path[2];
    else
        parent_id := path[cardinality(path) - 1];
        answers := path[2];
        repair := 'too_deep';
    end if;
end $$;

-- What a comment says of the one that it answers, where it does not hang on it. The other's name is the one that is shown there. Nothing of
-- another community is quoted.
create or replace function django.quote(answers bigint, of_discussion bigint) returns text
language sql stable as $$
    select case
        when d.id <> of_discussion and django.community_of(d.community_id) <> django.community_of(own.community_id)
            then E'> *In reply to a comment in another community.*\n\n'
        when a.is_deleted or a.is_gone and django.is_erased(a) or django.is_deletion_mark(a.content) or here.deleted_at is not null
            then E'> *In reply to a deleted comment.*\n\n'
        else format(E'> %s wrote: %s\n\n',
            django.escape_markdown(case when a.is_pseudonymous then coalesce(s.name, 'somebody') else coalesce(u.username, 'somebody') end),
            coalesce(django.first_line(a.content, 120), '…'))
    end
    from django.comments a
    join django.discussions d on d.id = a.discussion_id
    join django.discussions own on own.id = of_discussion
    left join comments here on here.id = a.id
    left join users u on u.id = a.author_id
    left join pseudonyms s on s.community_id = django.community_of(d.community_id) and s.article_id = d.article_id and s.user_id = a.author_id
    where a.id = answers
$$;

-- Quotes anew what has changed in those comments that are quoted, so that a text that is gone is gone in quotes too. What was edited
-- below a quote stays.
create or replace function django.quote_anew(answered bigint[]) returns void
language plpgsql as $$
declare
    pattern constant text := E'^> (\\*In reply to a (deleted comment|comment in another community)\\.\\*|[^\n]* wrote: [^\n]*)\n\n';
    quoting record;
begin
    for quoting in
        select k.id, d.community_id, left(q.quote || regexp_replace(k.text, pattern, ''), 50000) as text
        from (select m.id, django.quote(p.answers, m.discussion_id) as quote
              from (select m.id, m.discussion_id from django.comments m join comments k on k.id = m.id
                    where m.parent_id = any(answered) and k.deleted_at is null and k.text ~ pattern offset 0) m
              cross join lateral django.comment_position(m.id) p
              where p.answers is not null) q
        join comments k on k.id = q.id
        join discussions d on d.id = k.discussion_id
        where left(k.text, char_length(q.quote)) <> q.quote and k.deleted_at is null
        order by k.id
        -- Here people may edit and delete it at the same moment.
        for no key update of k
    loop
        update comments k set text = quoting.text, updated_at = k.updated_at + interval '1 microsecond' where k.id = quoting.id;
        -- An import takes its events back.
        perform django.tell(quoting.community_id, 'updated_comment', django.comment_state(quoting.id));
        perform pg_notify('outbox', '');
    end loop;
end $$;

-- Merges comments, and with them those above them that are pending.
create or replace function django.merge_comments(wanted bigint[]) returns void
language plpgsql as $$
declare
    ids bigint[];
    threads bigint[];
begin
    with recursive above as (
        select c.id, c.parent_id from django.comments c where c.id = any(wanted)
        union
        select c.id, c.parent_id from above b join django.comments c on c.id = b.parent_id and c.is_pending
    )
    select array_agg(id order by id) into ids from above;
    -- One that hangs elsewhere now takes along what hangs below it.
    with recursive below as (
        select m.id from django.comments m
        join comments k on k.id = m.id
        cross join lateral django.comment_position(m.id) p
        where m.id = any(ids) and (k.discussion_id, k.root_id, k.parent_id) is distinct from (m.discussion_id, p.root_id, p.parent_id)
        union
        select m.id from below b join django.comments m on m.parent_id = b.id
    )
    select array(select unnest(ids) union select id from below order by 1) into ids;
    perform django.forget('comments', ids);
    -- The order of locks is that of whoever writes a comment. The lock keeps the number of comments right.
    select array_agg(d.id) into threads
    from (select d.id from discussions d
          where d.id in (select c.discussion_id from django.comments c where c.id = any(ids)
                         union all
                         select k.discussion_id from comments k where k.id = any(ids))
          order by d.id for no key update) d;
    perform django.make_authors(array_agg(m.author_id)) from django.comments m where m.id = any(ids);
    perform django.make_pseudonyms(array_agg(d.community_id), array_agg(d.article_id), array_agg(m.author_id))
    from django.comments m join discussions d on d.id = m.discussion_id where m.id = any(ids) and m.is_pseudonymous;

    insert into comments as k (id, discussion_id, root_id, parent_id, depth, author_id, pseudonym_id, text, created_at, updated_at, deleted_at)
    overriding system value
    select m.id, m.discussion_id, p.root_id, p.parent_id, p.depth, m.author_id, s.id,
           case when m.is_removed then '' else django.shown_text(m.content, coalesce(django.quote(p.answers, m.discussion_id), '')) end,
           m.created_at, coalesce(django.edit_time(m.created_at, m.updated_at), m.created_at),
           case when m.is_removed then m.updated_at end
    from (select w.*, w.is_gone and django.is_erased(w) or w.is_deleted or django.is_deletion_mark(w.content) as is_removed
          from django.comments w where w.id = any(ids)
          and (not w.is_gone or w.erased_by is not null or django.is_erased(w) or not exists (select from comments o where o.id = w.id))) m
    join discussions d on d.id = m.discussion_id
    cross join lateral django.comment_position(m.id) p
    left join pseudonyms s on m.is_pseudonymous and s.community_id = d.community_id and s.article_id = d.article_id and s.user_id = m.author_id
    order by m.id
    on conflict (id) do update
        set discussion_id = excluded.discussion_id, root_id = excluded.root_id, parent_id = excluded.parent_id, depth = excluded.depth,
            author_id = excluded.author_id, pseudonym_id = excluded.pseudonym_id, text = excluded.text,
            deleted_at = case when excluded.deleted_at is not null then coalesce(k.deleted_at, excluded.deleted_at) end,
            updated_at = greatest(excluded.updated_at, k.updated_at + interval '1 microsecond'),
            mentioned_users = case when k.text = excluded.text then k.mentioned_users end,
            mentioned_pseudonyms = case when k.text = excluded.text then k.mentioned_pseudonyms end
        where (k.discussion_id, k.root_id, k.parent_id, k.author_id, k.pseudonym_id, k.text, k.deleted_at is null)
              is distinct from (excluded.discussion_id, excluded.root_id, excluded.parent_id, excluded.author_id, excluded.pseudonym_id,
                                excluded.text, excluded.deleted_at is null);
    update discussions d set comment_count = counted.live
    from (select t.id, count(k.id) as live
          from unnest(threads) as t (id) left join comments k on k.discussion_id = t.id and k.deleted_at is null
          group by t.id) counted
    where d.id = counted.id and d.comment_count <> counted.live;

    insert into django.repairs (kind, id, repair, detail)
    select 'comments', m.id, found.repair, found.detail
    from django.comments m
    join comments k on k.id = m.id
    join django.discussions d on d.id = m.discussion_id
    cross join lateral django.comment_position(m.id) p
    left join users u on u.id = m.author_id
    left join pseudonyms s on s.id = k.pseudonym_id
    cross join lateral (values
        (django.is_in_future(m.created_at), 'time_in_future', format('it was written at %s', m.created_at)),
        (m.is_deleted, 'deleted_moment', format('deleted at %s, when it was last changed', m.updated_at)),
        (not m.is_deleted and django.is_deletion_mark(m.content), 'deleted_mark', format('deleted at %s', m.updated_at)),
        (k.deleted_at is null and django.is_blank(m.content), 'text_empty', 'its text says that it was empty'),
        (k.deleted_at is null and char_length(k.text) = 50000 and char_length(m.content) > 49000 and right(k.text, 100) like '%*(Cut: this text had %', 'text_cut',
         format('it had %s characters', char_length(m.content))),
        (p.repair is not null, coalesce(p.repair, ''), format('it answers %s and hangs on %s', m.parent_id, coalesce(k.parent_id::text, 'nothing'))),
        (m.community_id is distinct from d.community_id, 'community_differs', format('it says community %s, its discussion is in %s',
            coalesce(m.community_id::text, 'none'), coalesce(d.community_id::text, 'none'))),
        (m.is_pseudonymous and not exists (
            select from django.pseudonyms o
            where o.article_id = d.article_id and o.user_id = m.author_id and django.community_of(o.community_id) = django.community_of(d.community_id)),
         'pseudonym_made', format('its author is called %s', s.name)),
        (not exists (select from django.users a where a.id = m.author_id), 'author_missing', format('its author is called %s', u.username))
    ) as found (applies, repair, detail)
    where m.id = any(ids) and not m.is_gone and found.applies;
    insert into django.refusals (kind, id, reason, detail)
    select 'comments', m.id, 'no_discussion', format('there is no discussion %s', m.discussion_id)
    from django.comments m
    where m.id = any(ids) and not m.is_gone and not exists (select from comments k where k.id = m.id);
    update django.comments m set is_pending = false, erased_by = case when m.is_gone and django.is_erased(m) then coalesce(m.erased_by, pg_current_xact_id()) end
    where m.id = any(ids) and (m.is_pending or m.is_gone or m.erased_by is not null);
    perform django.quote_anew(ids);
    perform django.bring_back(null, array(
        select k.id from django.comments k join django.comments m on m.id = k.parent_id
        where m.id = any(ids) and m.is_gone and k.erased_by = pg_current_xact_id()));
end $$;

-- Moves the numbers that the server gives beyond Django's. Django goes on making pseudonyms for reviews, so theirs leave room for it, and for
-- those that the import makes. Those of discussions and comments leave room for Django to write again, on the way back.
create or replace function django.move_sequences() returns void
language plpgsql as $$
declare
    of_table text;
    newest   bigint;
    sequence text;
    last     bigint;
begin
    insert into django.settings (name, value)
    select 'made_pseudonyms', (coalesce(max(id), 0) + 500000)::text from django.pseudonyms
    union all
    select 'room_discussions', (coalesce(max(id), 0) + 1000000)::text from django.discussions
    union all
    select 'room_comments', (coalesce(max(id), 0) + 1000000)::text from django.comments
    on conflict do nothing;
    foreach of_table in array array['users', 'communities', 'articles', 'discussions', 'comments', 'pseudonyms'] loop
        execute format('select greatest(max(id), (select max(id) from django.%1$I)) from %1$I', of_table) into newest;
        newest := greatest(newest, case of_table
            when 'pseudonyms' then django.setting('made_pseudonyms')::bigint + 500000
            when 'discussions' then django.setting('room_discussions')::bigint
            when 'comments' then django.setting('room_comments')::bigint
        end);
        sequence := pg_get_serial_sequence(format('%I', of_table), 'id');
        execute format('select last_value from %s', sequence) into last;
        if newest > last then
            perform setval(sequence, newest);
        end if;
    end loop;
end $$;
