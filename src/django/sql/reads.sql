-- How unread flags of Django become read states. Django has a flag for each thing that a user has not read; all else is read. Here a
-- membership says from when on things count, and rows say what of that is read.
--
-- So a new membership counts from the newest thing of Django in its community on: everything is read, without any row. Where a flag is
-- older, the membership counts from that thing on, and a row for each discussion says what else is read. `memberships.created_at` is that
-- moment; the mirror keeps when the user joined.

-- Notes what is new since the last import. The import then takes out of it what Django wrote after the snapshot of the flags: of that the
-- flags say nothing, so it stays unseen until the next import.
create or replace function django.note_new_things() returns void
language sql as $$
    truncate django.new_things;
    insert into django.new_things (kind, id)
    select 'discussions', id from django.discussions where is_unseen
    union all
    select 'comments', id from django.comments where is_unseen
$$;

-- Notes whose read state is to be merged: of those with new flags or new memberships, and of those who may have read what is new.
create or replace function django.note_read_work() returns void
language plpgsql as $$
begin
    insert into django.refusals (kind, id, reason, detail)
    select 'flags', id, 'global', format('%s of everybody on %s %s', flag_type, entity_type, entity_id)
    from django.flags where is_pending and user_id is null and not is_gone
    on conflict do nothing;
    update django.flags set is_pending = false where is_pending and user_id is null;
    insert into django.read_work (user_id)
    select user_id from django.flags where is_pending
    union
    select user_id from django.memberships where is_unseen and not is_gone
    union
    select m.user_id from django.memberships m
    where not m.is_gone and m.community_id in (
        select d.community_id from django.new_things n join django.discussions d on d.id = n.id where n.kind = 'discussions'
        union
        select d.community_id from django.new_things n join django.comments k on k.id = n.id join django.discussions d on d.id = k.discussion_id
        where n.kind = 'comments')
    on conflict do nothing;
    if exists (select from django.read_work) then
        analyze django.new_things;
        truncate django.newest_things;
        insert into django.newest_things (discussion_id, community_id, comment_id, created_at)
        select d.id, d.community_id, max(k.id), greatest(d.created_at, max(k.created_at))
        from django.discussions d
        left join (select k.id, k.discussion_id, k.created_at
                   from django.comments k left join django.new_things n on n.kind = 'comments' and n.id = k.id
                   where not k.is_unseen or n.id is not null) k on k.discussion_id = d.id
        left join django.new_things n on n.kind = 'discussions' and n.id = d.id
        where d.community_id is not null and (not d.is_unseen or n.id is not null)
        group by d.id;
        analyze django.newest_things;
    end if;
end $$;

-- Ends it: all that was new has been looked at.
create or replace function django.end_read_work() returns void
language plpgsql as $$
begin
    if not exists (select from django.read_work) then
        update django.discussions m set is_unseen = false
        from django.new_things n where n.kind = 'discussions' and n.id = m.id and m.is_unseen;
        update django.comments m set is_unseen = false
        from django.new_things n where n.kind = 'comments' and n.id = m.id and m.is_unseen;
        truncate django.newest_things, django.new_things;
    end if;
end $$;

-- Merges what users have read.
create or replace function django.merge_reads(of_users bigint[]) returns void
language plpgsql as $$
begin
    create temp table if not exists changed_flags (
        id bigint, user_id bigint, community_id bigint, discussion_id bigint, comment_id bigint, created_at timestamptz, is_gone boolean,
        is_late boolean, reason text, detail text) on commit drop;
    create temp table if not exists merged_members (
        user_id bigint, community_id bigint, counts_from timestamptz, counted_from timestamptz, is_new boolean) on commit drop;
    truncate changed_flags, merged_members;

    -- The flags of a new membership count too, if Django has not changed them: they are of an earlier membership.
    insert into changed_flags
    select f.id, f.user_id, coalesce(d.community_id, kd.community_id), coalesce(d.id, kd.id), k.id, coalesce(d.created_at, k.created_at), f.is_gone,
           -- It is newer than the import of what it is on.
           f.is_pending and not coalesce(md.is_unseen, mk.is_unseen, true),
           case when f.flag_type <> 'unread' or f.entity_type not in ('discussion', 'comment') then 'other_type'
                when d.id is null and k.id is null then 'no_target'
                when coalesce(d.deleted_at, k.deleted_at) is not null then 'deleted'
                when coalesce(d.author_id, k.author_id) = f.user_id then 'own'
                when m.role is null then 'not_a_member' end,
           format('%s of user %s on %s %s', f.flag_type, f.user_id, f.entity_type, f.entity_id)
    from django.flags f
    left join discussions d on f.entity_type = 'discussion' and d.id = f.entity_id
    left join comments k on f.entity_type = 'comment' and k.id = f.entity_id
    left join discussions kd on kd.id = k.discussion_id
    left join django.discussions md on md.id = d.id
    left join django.comments mk on mk.id = k.id
    left join memberships m on m.user_id = f.user_id and m.community_id = coalesce(d.community_id, kd.community_id)
    where f.user_id = any(of_users)
      -- Most users have no new membership, so their other flags are not looked at.
      and (f.is_pending or f.user_id in (
          select o.user_id from django.memberships o where o.user_id = any(of_users) and o.is_unseen and not o.is_gone))
      and (f.is_pending or not f.is_gone and (f.user_id, coalesce(d.community_id, kd.community_id)) in (
          select o.user_id, o.community_id from django.memberships o where o.user_id = any(of_users) and o.is_unseen and not o.is_gone));
    -- None, at the first import.
    if exists (select from django.refusals r where r.kind = 'flags') then
        delete from django.refusals r using changed_flags c where r.kind = 'flags' and r.id = c.id;
    end if;
    insert into django.refusals (kind, id, reason, detail)
    select 'flags', id, reason, detail from changed_flags where reason is not null and not is_gone;
    delete from changed_flags where reason is not null;

    -- From when on each membership counts. That is not later than now, whatever moments Django's rows have: otherwise nothing would be unread
    -- until then.
    insert into merged_members
    select m.user_id, m.community_id, least(start.at, clock_timestamp(), flagged.at - interval '1 microsecond'), start.at, seen.is_new
    from memberships m
    cross join lateral (
        select coalesce(bool_or(o.is_unseen), false) as is_new from django.memberships o
        where o.user_id = m.user_id and o.community_id = m.community_id and not o.is_gone) seen
    cross join lateral (
        select case when seen.is_new
                    then greatest(m.created_at, (select max(n.created_at) from django.newest_things n where n.community_id = m.community_id))
                    else m.created_at end as at) start
    left join (
        select c.user_id, c.community_id, min(c.created_at) as at from changed_flags c where not c.is_gone group by 1, 2
    ) flagged on flagged.user_id = m.user_id and flagged.community_id = m.community_id
    where m.user_id = any(of_users);
    update memberships m set created_at = n.counts_from
    from merged_members n
    where n.user_id = m.user_id and n.community_id = m.community_id and m.created_at <> n.counts_from;

    -- What counted for nothing before and does now is read, but for what has a flag. What was read here stays so.
    with flagged as (
        select f.user_id, coalesce(k.discussion_id, f.entity_id) as discussion_id, bool_or(k.id is null) as itself,
               coalesce(range_agg(int8range(k.id, k.id, '[]')) filter (where k.id is not null), '{}') as ids
        from django.flags f
        left join comments k on f.entity_type = 'comment' and k.id = f.entity_id
        where f.user_id = any(of_users) and f.flag_type = 'unread' and not f.is_gone and (f.entity_type = 'discussion' or k.id is not null)
        group by 1, 2
    )
    insert into read_states as r (user_id, discussion_id, is_read, comments)
    select n.user_id, t.discussion_id, not coalesce(f.itself, false),
           case when t.comment_id is null then '{}'
                when n.is_new then int8multirange(int8range(1, t.comment_id, '[]'))
                else coalesce((select int8multirange(int8range(1, max(k.id), '[]')) from django.comments k
                               where k.discussion_id = t.discussion_id and k.created_at <= n.counted_from and not k.is_unseen), '{}') end
           - coalesce(f.ids, '{}')
    from merged_members n
    join django.newest_things t on t.community_id = n.community_id and t.created_at > n.counts_from
    join discussions d on d.id = t.discussion_id
    left join flagged f on f.user_id = n.user_id and f.discussion_id = t.discussion_id
    where n.counts_from < n.counted_from
    on conflict (user_id, discussion_id) do update
        set is_read = r.is_read or excluded.is_read, comments = r.comments + excluded.comments,
            unread_count = null, first_unread = null, comment_version = null, joined_at = null;
    -- So is what is new and counts.
    insert into read_states as r (user_id, discussion_id, is_read, comments)
    select n.user_id, new.discussion_id, bool_or(new.comment_id is null),
           coalesce(range_agg(int8range(new.comment_id, new.comment_id, '[]')) filter (where new.comment_id is not null), '{}')
    from merged_members n
    join (select d.id as discussion_id, null::bigint as comment_id, d.community_id, d.author_id, d.created_at
          from django.new_things m join discussions d on d.id = m.id where m.kind = 'discussions'
          union all
          select d.id, k.id, d.community_id, k.author_id, k.created_at
          from django.new_things m join comments k on k.id = m.id join discussions d on d.id = k.discussion_id where m.kind = 'comments') new
      on new.community_id = n.community_id and new.author_id <> n.user_id and new.created_at > n.counts_from
    where not n.is_new and not exists (
        select from django.flags f
        where f.user_id = n.user_id and f.flag_type = 'unread' and not f.is_gone
          and f.entity_type = case when new.comment_id is null then 'discussion' else 'comment' end
          and f.entity_id = coalesce(new.comment_id, new.discussion_id))
    group by n.user_id, new.discussion_id
    on conflict (user_id, discussion_id) do update
        set is_read = r.is_read or excluded.is_read, comments = r.comments + excluded.comments,
            unread_count = null, first_unread = null, comment_version = null, joined_at = null;
    -- And what has lost its flag.
    insert into read_states as r (user_id, discussion_id, is_read, comments)
    select c.user_id, c.discussion_id, bool_or(c.comment_id is null),
           coalesce(range_agg(int8range(c.comment_id, c.comment_id, '[]')) filter (where c.comment_id is not null), '{}')
    from changed_flags c
    where c.is_gone and not exists (
        select from django.flags f
        where f.user_id = c.user_id and f.flag_type = 'unread' and not f.is_gone
          and f.entity_type = case when c.comment_id is null then 'discussion' else 'comment' end
          and f.entity_id = coalesce(c.comment_id, c.discussion_id))
    group by c.user_id, c.discussion_id
    on conflict (user_id, discussion_id) do update
        set is_read = r.is_read or excluded.is_read, comments = r.comments + excluded.comments,
            unread_count = null, first_unread = null, comment_version = null, joined_at = null;
    -- What has got a flag since it was imported is unread again: somebody has marked it so, or Django wrote the flag late. The newer word of
    -- Django counts. For a new thing the flag is older than a mark made here, so the mark counts.
    with flagged as (
        select c.user_id, c.discussion_id, bool_or(c.comment_id is null) as itself,
               coalesce(range_agg(int8range(c.comment_id, c.comment_id, '[]')) filter (where c.comment_id is not null), '{}') as ids
        from changed_flags c where c.is_late and not c.is_gone
        group by 1, 2
    )
    update read_states r
    set is_read = r.is_read and not f.itself, comments = r.comments - f.ids,
        unread_count = null, first_unread = null, comment_version = null, joined_at = null
    from flagged f
    where r.user_id = f.user_id and r.discussion_id = f.discussion_id and (r.is_read and f.itself or r.comments && f.ids);
    update django.flags set is_pending = false where user_id = any(of_users) and is_pending;
    update django.memberships set is_unseen = false where user_id = any(of_users) and is_unseen;
    delete from django.read_work where user_id = any(of_users);
end $$;

-- Whether something that Django has a flag for is unread here too.
create or replace function django.unread_flags() returns bigint
language sql stable as $$
    select count(*)
    from django.flags f
    left join discussions d on f.entity_type = 'discussion' and d.id = f.entity_id
    left join comments k on f.entity_type = 'comment' and k.id = f.entity_id
    left join discussions kd on kd.id = k.discussion_id
    join memberships m on m.user_id = f.user_id and m.community_id = coalesce(d.community_id, kd.community_id)
    left join read_states r on r.user_id = f.user_id and r.discussion_id = coalesce(d.id, kd.id)
    where f.flag_type = 'unread' and not f.is_gone
      and is_unread(coalesce(d.author_id, k.author_id), coalesce(d.created_at, k.created_at), coalesce(d.deleted_at, k.deleted_at), f.user_id, m.created_at)
      and not coalesce(case when k.id is null then r.is_read else k.id <@ r.comments end, false)
$$;
