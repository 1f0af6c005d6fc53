-- What members want to hear of: what they said about an article in a community, or about a discussion. Who said nothing has no row.

create table article_follows (
    user_id      bigint not null references users on delete cascade,
    community_id bigint not null references communities on delete cascade,
    article_id   bigint not null references articles on delete cascade,
    level        text not null constraint article_follows_level check (level in ('follow', 'mute')),
    primary key (user_id, community_id, article_id)
);
-- For the cascades, and for who follows an article.
create index article_follows_article on article_follows (article_id, community_id);
create index article_follows_community on article_follows (community_id);

create table discussion_follows (
    user_id       bigint not null references users on delete cascade,
    discussion_id bigint not null references discussions on delete cascade,
    level         text not null constraint discussion_follows_level check (level in ('follow', 'mute')),
    primary key (user_id, discussion_id)
);
create index discussion_follows_discussion on discussion_follows (discussion_id);

-- What a user said about a discussion: about the discussion itself or, failing that, about its article. Null for nothing.
create function said_level(member bigint, discussion bigint, community bigint, article bigint) returns text
language sql stable
begin atomic
    select coalesce(
        (select level from discussion_follows where user_id = member and discussion_id = discussion),
        (select level from article_follows where user_id = member and community_id = community and article_id = article));
end;

-- Whether a user wants to hear nothing of a discussion.
create function is_muted(member bigint, discussion bigint, community bigint, article bigint) returns boolean
language sql stable
begin atomic
    select said_level(member, discussion, community, article) is not distinct from 'mute';
end;

-- What a member said about an article in a community. If they said nothing, it is `follow` where they submitted it or administer the
-- community, and `default` otherwise. `role` is that of their membership.
create function article_level(member bigint, role text, community bigint, article bigint) returns text
language sql stable
begin atomic
    select coalesce(
        (select level from article_follows where user_id = member and community_id = community and article_id = article),
        case when role = 'admin' or exists (select from articles where id = article and submitter_id = member)
            then 'follow' else 'default' end);
end;

-- Whether a member follows a discussion: they said so of it; or they said nothing of it and follow its article; or they said nothing of
-- either and wrote in it.
create function is_followed(member bigint, role text, discussion bigint, community bigint, article bigint, author bigint) returns boolean
language sql stable
begin atomic
    select case coalesce(
            (select level from discussion_follows where user_id = member and discussion_id = discussion),
            article_level(member, role, community, article))
        when 'follow' then true
        when 'mute' then false
        else author = member or exists (select from comments where author_id = member and discussion_id = discussion)
    end;
end;

-- A node knows what its users submitted. This row tells it of a new submission. It is of no community, and goes to no client.
create function article_submitted() returns trigger
language plpgsql as $$
begin
    insert into outbox (community_id, type, payload)
    values (0, 'article_submitted', json_build_object('type', 'article_submitted', 'user_id', new.submitter_id, 'article_id', new.id));
    -- See 0006: nobody else wakes the relay.
    perform pg_notify('outbox', '');
    return null;
end $$;
create trigger articles_submitted after insert on articles
    for each row when (new.submitter_id is not null) execute function article_submitted();
create trigger articles_submitter_changed after update of submitter_id on articles
    for each row when (new.submitter_id is distinct from old.submitter_id and new.submitter_id is not null)
    execute function article_submitted();
-- As in 0008.
do $$
begin
    execute format('alter function article_submitted() security definer set search_path = pg_catalog, %I, pg_temp', current_schema());
    revoke execute on function article_submitted() from public;
end $$;

-- It tells the nodes too by which pseudonym a user writes from now on. They find out by it who wrote a text. A trigger, because programs
-- of the last release give pseudonyms beside this schema. The transaction that gives one writes a text, and wakes the relay.
create function pseudonym_given() returns trigger
language plpgsql as $$
begin
    insert into outbox (community_id, type, payload)
    values (0, 'pseudonym_given', json_build_object(
        'type', 'pseudonym_given',
        'user_id', new.user_id,
        'community_id', new.community_id,
        'article_id', new.article_id,
        'name', new.name));
    return null;
end $$;
create trigger pseudonyms_given after insert on pseudonyms for each row execute function pseudonym_given();
do $$
begin
    execute format('alter function pseudonym_given() security definer set search_path = pg_catalog, %I, pg_temp', current_schema());
    revoke execute on function pseudonym_given() from public;
end $$;
