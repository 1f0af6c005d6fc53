-- How votes, subscriptions and summaries of Django become ours. See directory.sql.

-- Whether a thing of Django can have votes and read state here: `discussion` or `comment`, the thing's id.
create or replace function django.thing(of_kind text, of_id bigint,
    out id bigint, out discussion_id bigint, out community_id bigint, out author_id bigint, out created_at timestamptz, out is_live boolean)
language plpgsql stable as $$
begin
    if of_kind = 'discussion' then
        select d.id, d.id, d.community_id, d.author_id, d.created_at, d.deleted_at is null
        into id, discussion_id, community_id, author_id, created_at, is_live
        from discussions d where d.id = of_id;
    elsif of_kind = 'comment' then
        select k.id, k.discussion_id, d.community_id, k.author_id, k.created_at, k.deleted_at is null
        into id, discussion_id, community_id, author_id, created_at, is_live
        from comments k join discussions d on d.id = k.discussion_id where k.id = of_id;
    end if;
end $$;

-- A vote of Django's, and why it does not count, if so. Merges keep these in an array, and not in a temporary table: a role of Django's could
-- make one of the same name before, with triggers of its own, and these would run with the rights of this schema's owner.
do $$ begin
    if to_regtype('django.merged_vote') is null then
        create type django.merged_vote as (id bigint, target text, object_id bigint, user_id bigint, vote smallint, reason text, detail text);
    end if;
end $$;

-- Each user has one vote on a thing, the earliest of Django's, and none on their own.
create or replace function django.merge_votes(ids bigint[]) returns void
language plpgsql as $$
declare
    on_discussions bigint[];
    on_comments    bigint[];
    merged         django.merged_vote[];
begin
    select array_agg(distinct object_id) filter (where target = 'discussion'), array_agg(distinct object_id) filter (where target = 'comment')
    into on_discussions, on_comments
    from django.votes where id = any(ids);
    perform from discussions d where d.id = any(on_discussions) order by d.id for no key update;
    perform from comments k where k.id = any(on_comments) order by k.id for no key update;

    -- The votes of the same user on the same thing too: which of them is the earliest may have changed.
    select array_agg(row(r.*)::django.merged_vote) into merged
    from (
        select v.id, v.target, v.object_id, v.user_id, v.vote,
               case when t.id is null then 'no_target'
                    when v.vote not in (1, -1) then 'no_value'
                    when t.author_id = v.user_id then 'own'
                    when v.id <> v.earliest then 'doubled' end as reason,
               case when t.id is null then format('there is no %s %s', v.target, v.object_id)
                    when v.vote not in (1, -1) then format('its value is %s', v.vote)
                    when t.author_id = v.user_id then format('user %s wrote %s %s', v.user_id, v.target, v.object_id)
                    when v.id <> v.earliest then format('user %s voted on %s %s by %s', v.user_id, v.target, v.object_id, v.earliest) end as detail
        from (select o.*, min(o.id) filter (where o.vote in (1, -1)) over (partition by o.target, o.object_id, o.user_id) as earliest
              from (select distinct target, object_id, user_id from django.votes where id = any(ids)) w
              join django.votes o on o.target = w.target and o.object_id = w.object_id and o.user_id = w.user_id
              where not o.is_gone) v
        cross join lateral django.thing(v.target, v.object_id) t
    ) r;

    delete from django.refusals where kind = 'votes' and id in (select id from unnest(merged) union all select unnest(ids));
    insert into django.refusals (kind, id, reason, detail) select 'votes', id, reason, detail from unnest(merged) where reason is not null;

    delete from discussion_votes v using django.votes w
    where w.id = any(ids) and w.target = 'discussion' and v.discussion_id = w.object_id and v.user_id = w.user_id
      and not exists (select from unnest(merged) m where m.target = w.target and m.object_id = w.object_id and m.user_id = w.user_id and m.reason is null);
    delete from comment_votes v using django.votes w
    where w.id = any(ids) and w.target = 'comment' and v.comment_id = w.object_id and v.user_id = w.user_id
      and not exists (select from unnest(merged) m where m.target = w.target and m.object_id = w.object_id and m.user_id = w.user_id and m.reason is null);
    insert into discussion_votes (discussion_id, user_id, value)
    select object_id, user_id, vote from unnest(merged) where reason is null and target = 'discussion'
    on conflict (discussion_id, user_id) do update set value = excluded.value where discussion_votes.value <> excluded.value;
    insert into comment_votes (comment_id, user_id, value)
    select object_id, user_id, vote from unnest(merged) where reason is null and target = 'comment'
    on conflict (comment_id, user_id) do update set value = excluded.value where comment_votes.value <> excluded.value;

    update discussions d set upvotes = c.up, downvotes = c.down
    from (select t.id, count(v.*) filter (where v.value = 1) as up, count(v.*) filter (where v.value = -1) as down
          from unnest(on_discussions) as t (id) left join discussion_votes v on v.discussion_id = t.id group by t.id) c
    where d.id = c.id and (d.upvotes, d.downvotes) <> (c.up, c.down);
    update comments k set upvotes = c.up, downvotes = c.down
    from (select t.id, count(v.*) filter (where v.value = 1) as up, count(v.*) filter (where v.value = -1) as down
          from unnest(on_comments) as t (id) left join comment_votes v on v.comment_id = t.id group by t.id) c
    where k.id = c.id and (k.upvotes, k.downvotes) <> (c.up, c.down);
    update django.votes set is_pending = false where id = any(ids) and is_pending;
end $$;

-- An active subscription is a follow of the article in the community. One that is not active says nothing.
create or replace function django.merge_subscriptions(ids bigint[]) returns void
language plpgsql as $$
begin
    delete from django.refusals r using django.subscriptions m, django.subscriptions o
    where r.kind = 'subscriptions' and r.id = o.id and m.id = any(ids)
      and o.user_id = m.user_id and o.community_id = m.community_id and o.article_id = m.article_id;
    delete from article_follows f using django.subscriptions m
    where m.id = any(ids) and f.user_id = m.user_id and f.community_id = m.community_id and f.article_id = m.article_id and f.level = 'follow'
      and exists (select from django.subscriptions o where o.is_followed
                  and o.user_id = m.user_id and o.community_id = m.community_id and o.article_id = m.article_id)
      and not exists (select from django.subscriptions o where o.is_active and not o.is_gone
                      and o.user_id = m.user_id and o.community_id = m.community_id and o.article_id = m.article_id);
    insert into article_follows (user_id, community_id, article_id, level)
    select distinct m.user_id, m.community_id, m.article_id, 'follow'
    from django.subscriptions m
    join users u on u.id = m.user_id
    join community_articles p on p.community_id = m.community_id and p.article_id = m.article_id
    where m.id = any(ids) and m.is_active and not m.is_gone
    on conflict (user_id, community_id, article_id) do update set level = excluded.level where article_follows.level <> excluded.level;
    insert into django.refusals (kind, id, reason, detail)
    select 'subscriptions', o.id,
           case when not o.is_active then 'not_active' when f.user_id is null then 'no_place' else 'doubled' end,
           format('user %s, article %s of community %s', o.user_id, o.article_id, o.community_id)
    from (select distinct user_id, community_id, article_id from django.subscriptions where id = any(ids)) w
    join django.subscriptions o on o.user_id = w.user_id and o.community_id = w.community_id and o.article_id = w.article_id and not o.is_gone
    left join article_follows f on f.user_id = o.user_id and f.community_id = o.community_id and f.article_id = o.article_id
    where not o.is_active or f.user_id is null
       or exists (select from django.subscriptions e where e.id < o.id and e.is_active and not e.is_gone
                  and e.user_id = o.user_id and e.community_id = o.community_id and e.article_id = o.article_id);
    update django.subscriptions set is_followed = is_active and not is_gone where id = any(ids) and is_followed <> (is_active and not is_gone);
    update django.subscriptions set is_pending = false where id = any(ids) and is_pending;
end $$;

-- A summary is that of the place of its community_article. Of a doubled place the earliest one counts.
create or replace function django.merge_summaries(ids bigint[]) returns void
language plpgsql as $$
declare
    m         record;
    old       record;
    writer    bigint;
    new_text  text;
begin
    perform django.forget('summaries', ids);
    if to_regclass('summaries') is null then
        return;
    end if;
    for m in
        select s.*, p.community_id, p.article_id, p.is_pseudonymous, e.earliest
        from django.summaries s
        left join django.community_articles c on c.id = s.community_article_id
        left join community_articles p on p.community_id = c.community_id and p.article_id = c.article_id
        left join lateral (
            select min(o.id) as earliest
            from django.summaries o join django.community_articles oc on oc.id = o.community_article_id
            where oc.community_id = c.community_id and oc.article_id = c.article_id and not o.is_gone and not django.is_blank(o.content)) e on true
        where s.id = any(ids) order by s.id
    loop
        select * into old from summaries s where s.community_id = m.community_id and s.article_id = m.article_id for update;
        if m.is_gone then
            -- Unless another one stands for the place, or the place is gone with it.
            if m.earliest is null and old.text is not null and not exists (
                select from django.community_articles c
                left join django.communities o on o.id = c.community_id
                left join django.articles a on a.id = c.article_id
                where c.id = m.community_article_id and (c.is_gone or o.is_gone or a.is_gone)) then
                update summaries set text = null, author_id = null, pseudonym_id = null, revision = revision + 1, updated_at = clock_timestamp()
                where community_id = m.community_id and article_id = m.article_id;
                delete from summary_revisions where community_id = m.community_id and article_id = m.article_id;
            end if;
            continue;
        elsif m.community_id is null then
            insert into django.refusals values ('summaries', m.id, 'no_place', format('there is no community article %s', m.community_article_id));
            continue;
        elsif django.is_blank(m.content) then
            insert into django.refusals values ('summaries', m.id, 'empty', 'it has no text');
            continue;
        elsif m.earliest <> m.id then
            insert into django.refusals values ('summaries', m.id, 'doubled', format('article %s of community %s has summary %s', m.article_id, m.community_id, m.earliest));
            continue;
        end if;
        -- Whoever changed it last, if somebody knows.
        select u.id into writer from users u where u.id = coalesce(m.last_updated_by_id, m.created_by_id);
        if m.is_pseudonymous and writer is not null then
            -- See migrations/0044.
            insert into django.repairs values ('summaries', m.id, 'author_hidden', 'people write under pseudonyms there, and only admins write summaries');
            writer := null;
        end if;
        new_text := django.shown_text(m.content);
        if char_length(btrim(m.content, E' \t\r\n')) > 50000 then
            insert into django.repairs values ('summaries', m.id, 'text_cut', format('it had %s characters', char_length(m.content)));
        end if;
        if old.revision is null then
            insert into summaries (community_id, article_id, author_id, text, revision, created_at, updated_at)
            values (m.community_id, m.article_id, writer, new_text, 1, m.created_at,
                    coalesce(django.edit_time(m.created_at, m.updated_at), m.created_at));
        elsif (old.text, old.author_id) is distinct from (new_text, writer) then
            if old.text is not null then
                insert into summary_revisions (community_id, article_id, revision, author_id, text, created_at)
                values (m.community_id, m.article_id, old.revision, old.author_id, old.text, old.updated_at);
            end if;
            update summaries
            set text = new_text, author_id = writer, pseudonym_id = null, revision = revision + 1,
                created_at = case when old.text is null then m.created_at else created_at end,
                updated_at = greatest(m.updated_at, old.updated_at + interval '1 microsecond')
            where community_id = m.community_id and article_id = m.article_id;
        end if;
    end loop;
    update django.summaries set is_pending = false where id = any(ids) and is_pending;
end $$;
