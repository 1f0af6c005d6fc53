-- The events of what Django writes, as the server itself writes them. tests/it/django_live.rs compares the two.

-- A moment as events write it.
create or replace function django.wire(of_moment timestamptz) returns text
language sql stable as $$ select to_char(of_moment at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;

-- An author as events show them. The name is locked until the commit, so a rename comes after this event: see migrations/0010.
create or replace function django.shown_author(of_user bigint, of_pseudonym bigint) returns json
language plpgsql as $$
declare
    found json;
begin
    if of_pseudonym is not null then
        select json_build_object('id', null, 'username', p.name, 'avatar_url', p.avatar_url) into found
        from pseudonyms p where p.id = of_pseudonym;
    else
        select json_build_object('id', u.id, 'username', u.username, 'avatar_url', u.avatar_url) into found
        from users u where u.id = of_user for share;
    end if;
    return found;
end $$;

create or replace function django.shown_mentions(people bigint[], names bigint[]) returns json
language plpgsql as $$
begin
    perform from users u where u.id = any(people) order by u.id for share;
    return (select coalesce(json_agg(case
                when s.pseudonym is null then json_build_object('id', s.id, 'username', s.username, 'avatar_url', s.avatar_url)
                else json_build_object('id', null, 'username', s.pseudonym, 'avatar_url', s.avatar_url)
            end), '[]')
            from shown_mentions(people, names) s);
end $$;

-- Writes an event of a community.
create or replace function django.tell(of_community bigint, of_type text, payload jsonb) returns void
language sql as $$
    insert into outbox (community_id, type, payload)
    values (of_community, of_type, (jsonb_build_object('type', of_type, 'community_id', of_community) || payload)::json)
$$;

-- What an event says of a live discussion.
create or replace function django.discussion_state(of_discussion bigint) returns jsonb
language sql as $$
    select jsonb_build_object(
        'article_id', d.article_id, 'discussion_id', d.id, 'topic', d.topic, 'text', d.text,
        'author', django.shown_author(d.author_id, d.pseudonym_id),
        'mentions', django.shown_mentions(d.mentioned_users, d.mentioned_pseudonyms),
        'is_resolved', d.is_resolved, 'comment_count', d.comment_count, 'upvotes', d.upvotes, 'downvotes', d.downvotes,
        'edited_at', django.wire(d.edited_at), 'resolved_at', django.wire(d.resolved_at),
        'resolved_by', case when d.resolved_by is not null then django.shown_author(d.resolved_by, d.resolved_pseudonym_id) end,
        'timestamp', django.wire(d.updated_at))
    from discussions d where d.id = of_discussion
$$;

-- What an event says of a live comment. What moves `updated_at` by less than a millisecond is no edit: see src/comments/store.rs.
create or replace function django.comment_state(of_comment bigint) returns jsonb
language sql as $$
    select jsonb_build_object(
        'article_id', d.article_id, 'discussion_id', d.id, 'comment_id', k.id, 'parent_id', k.parent_id, 'text', k.text,
        'author', django.shown_author(k.author_id, k.pseudonym_id),
        'mentions', django.shown_mentions(k.mentioned_users, k.mentioned_pseudonyms),
        'upvotes', k.upvotes, 'downvotes', k.downvotes,
        'edited_at', case when k.updated_at >= k.created_at + interval '1 millisecond' then django.wire(k.updated_at) end,
        'timestamp', django.wire(k.updated_at))
    from comments k join discussions d on d.id = k.discussion_id where k.id = of_comment
$$;

create or replace function django.merge_and_tell_discussion(of_id bigint) returns void
language plpgsql as $$
declare
    before discussions;
    after  discussions;
begin
    select * into before from discussions where id = of_id for no key update;
    perform django.merge_discussions(array[of_id]);
    select * into after from discussions where id = of_id;
    if after.id is null then
        return; -- It is refused.
    elsif before.id is null or before.deleted_at is not null then
        if after.deleted_at is null then
            perform django.tell(after.community_id, case when before.id is null then 'new_discussion' else 'updated_discussion' end,
                                django.discussion_state(of_id));
        end if;
    elsif after.deleted_at is not null then
        perform django.tell(after.community_id, 'deleted_discussion', jsonb_build_object(
            'article_id', after.article_id, 'discussion_id', of_id, 'timestamp', django.wire(after.deleted_at)));
    elsif (before.topic, before.text, before.is_resolved, before.pseudonym_id, before.author_id)
          is distinct from (after.topic, after.text, after.is_resolved, after.pseudonym_id, after.author_id) then
        perform django.tell(after.community_id, 'updated_discussion', django.discussion_state(of_id));
    end if;
end $$;

-- Those above come first: a merge brings them along, and each has its own event.
create or replace function django.merge_and_tell_comment(of_id bigint) returns void
language plpgsql as $$
declare
    i bigint;
begin
    for i in
        with recursive above as (
            select c.id, c.parent_id, array[c.id] as path from django.comments c where c.id = of_id
            union all
            select c.id, c.parent_id, b.path || c.id from above b join django.comments c on c.id = b.parent_id and c.is_pending and c.id <> all(b.path)
        )
        select id from above order by cardinality(path) desc
    loop
        perform django.merge_and_tell_one_comment(i);
    end loop;
end $$;

create or replace function django.merge_and_tell_one_comment(of_id bigint) returns void
language plpgsql as $$
declare
    others  bigint[];
    befores comments[];
    before  comments;
    after   comments;
    d       discussions;
begin
    -- The lock of the discussion's row gives the events of a discussion the order of their commits.
    perform from discussions where id in (
        select k.discussion_id from comments k where k.id = of_id union select k.discussion_id from django.comments k where k.id = of_id)
    order by id for no key update;
    -- What hangs together with it may be merged with it.
    others := array(select o.id from django.comments m join django.comments o on o.discussion_id = m.discussion_id
                    where m.id = of_id and o.is_pending and o.id <> of_id);
    befores := array(select k from comments k where k.id = of_id or k.id = any(others));
    perform django.merge_comments(array[of_id]);
    for after in
        select k.* from comments k left join django.comments m on m.id = k.id
        where k.id = of_id or k.id = any(others) and not m.is_pending
        order by k.depth, k.id
    loop
        select b.* into before from unnest(befores) b where b.id = after.id;
        delete from django.failures f where f.kind = 'comments' and f.id = after.id;
        select * into d from discussions where id = after.discussion_id;
        if before.id is null or before.deleted_at is not null then
            if after.deleted_at is null then
                perform django.tell(d.community_id, 'new_comment', django.comment_state(after.id) || jsonb_build_object(
                    'depth', after.depth, 'comment_count', d.comment_count, 'comment_version', d.comment_version));
            end if;
        elsif after.deleted_at is not null then
            perform django.tell(d.community_id, 'deleted_comment', jsonb_build_object(
                'article_id', d.article_id, 'discussion_id', d.id, 'comment_id', after.id, 'parent_id', after.parent_id,
                'comment_count', d.comment_count, 'comment_version', d.comment_version, 'timestamp', django.wire(after.deleted_at)));
        elsif (before.text, before.pseudonym_id, before.author_id) is distinct from (after.text, after.pseudonym_id, after.author_id) then
            perform django.tell(d.community_id, 'updated_comment', django.comment_state(after.id));
        end if;
    end loop;
end $$;

create or replace function django.merge_and_tell_vote(of_id bigint) returns void
language plpgsql as $$
declare
    v          django.votes;
    before     record;
    after      record;
    own_before smallint;
    own_after  smallint;
    place      jsonb;
    community  bigint;
begin
    select * into strict v from django.votes where id = of_id;
    if v.target = 'discussion' then
        select d.upvotes, d.downvotes into before from discussions d where d.id = v.object_id for no key update;
        select o.value into own_before from discussion_votes o where o.discussion_id = v.object_id and o.user_id = v.user_id;
    else
        select k.upvotes, k.downvotes into before from comments k where k.id = v.object_id for no key update;
        select o.value into own_before from comment_votes o where o.comment_id = v.object_id and o.user_id = v.user_id;
    end if;
    perform django.merge_votes(array[of_id]);
    if v.target = 'discussion' then
        select d.upvotes, d.downvotes into after from discussions d where d.id = v.object_id;
        select o.value into own_after from discussion_votes o where o.discussion_id = v.object_id and o.user_id = v.user_id;
        select d.community_id, jsonb_build_object('article_id', d.article_id, 'discussion_id', d.id, 'comment_id', null)
        into community, place from discussions d where d.id = v.object_id;
    else
        select k.upvotes, k.downvotes into after from comments k where k.id = v.object_id;
        select o.value into own_after from comment_votes o where o.comment_id = v.object_id and o.user_id = v.user_id;
        select d.community_id, jsonb_build_object('article_id', d.article_id, 'discussion_id', d.id, 'comment_id', k.id)
        into community, place from comments k join discussions d on d.id = k.discussion_id where k.id = v.object_id;
    end if;
    place := place || jsonb_build_object('timestamp', django.wire(clock_timestamp()));
    if coalesce(own_before, 0) <> coalesce(own_after, 0) then
        insert into outbox (community_id, user_id, type, payload)
        values (community, v.user_id, 'own_vote_changed', (place || jsonb_build_object(
            'type', 'own_vote_changed', 'community_id', community, 'user_id', v.user_id, 'value', coalesce(own_after, 0)))::json);
    end if;
    if before is distinct from after then
        perform django.tell(community, 'votes_changed', place || jsonb_build_object('upvotes', after.upvotes, 'downvotes', after.downvotes));
    end if;
end $$;

create or replace function django.merge_and_tell_summary(of_id bigint) returns void
language plpgsql as $$
declare
    before summaries;
    after  summaries;
begin
    select s.* into before from django.summaries m join django.community_articles c on c.id = m.community_article_id
    join summaries s on s.community_id = c.community_id and s.article_id = c.article_id where m.id = of_id for no key update of s;
    perform django.merge_summaries(array[of_id]);
    select s.* into after from django.summaries m join django.community_articles c on c.id = m.community_article_id
    join summaries s on s.community_id = c.community_id and s.article_id = c.article_id where m.id = of_id;
    if after.revision is distinct from before.revision then
        perform django.tell(after.community_id, 'updated_summary', jsonb_build_object(
            'article_id', after.article_id, 'text', after.text,
            'author', case when after.author_id is not null then django.shown_author(after.author_id, null) end,
            'revision', after.revision, 'created_at', django.wire(after.created_at), 'updated_at', django.wire(after.updated_at),
            'timestamp', django.wire(after.updated_at)));
    end if;
end $$;

-- Merges one row and writes its events.
create or replace function django.merge_and_tell(of_mirror text, of_id bigint) returns void
language plpgsql as $$
begin
    case of_mirror
        when 'discussions' then perform django.merge_and_tell_discussion(of_id);
        when 'comments' then perform django.merge_and_tell_comment(of_id);
        when 'votes' then perform django.merge_and_tell_vote(of_id);
        else perform django.merge_and_tell_summary(of_id);
    end case;
    -- See migrations/0006: nobody else wakes the relay.
    perform pg_notify('outbox', '');
end $$;
