-- What each member has read: one row for a member and a discussion that they looked at, and none for a comment.

-- In the order in which writers lock the two, who are at work meanwhile: otherwise they and this migration may wait for each other.
lock table users in share row exclusive mode;
lock table discussions in access exclusive mode;

create table read_states (
    user_id         bigint not null references users on delete cascade,
    discussion_id   bigint not null references discussions on delete cascade,
    -- Whether the discussion's own text is read.
    is_read         boolean not null default false,
    -- The ids of the comments that are read. A range may cover ids that are no comment of this discussion, but none that may
    -- still become one: see src/reads/store.rs.
    comments        int8multirange not null default '{}',
    -- How many comments were unread when the member last marked something, and the first of them. It still holds while the
    -- discussion has this comment_version and the membership is the one that began then: most discussions of a list are quiet.
    unread_count    bigint,
    first_unread    bigint,
    comment_version bigint,
    joined_at       timestamptz,
    primary key (user_id, discussion_id)
);
-- For the cascade from discussions.
create index read_states_discussion on read_states (discussion_id);

-- How often the number of live comments has changed since this migration. Each count of unread comments belongs to one such version, so
-- a client knows which events it reflects. A trigger raises it, because an older release beside this schema does not know it.
alter table discussions add column comment_version bigint not null default 0;
create function comments_counted() returns trigger
language plpgsql as $$
begin
    if new.comment_count is distinct from old.comment_count then
        new.comment_version := old.comment_version + 1;
    end if;
    return new;
end $$;
create trigger discussions_comments_counted before update of comment_count on discussions
    for each row execute function comments_counted();

-- Whether something counts as unread for a member, as long as they have not marked it as read: it is live, of somebody else, and
-- younger than the membership. Not true where there is no membership.
create function is_unread(author bigint, created_at timestamptz, deleted_at timestamptz, member bigint, joined_at timestamptz) returns boolean
language sql immutable parallel safe
return deleted_at is null and author <> member and created_at > joined_at;

-- Counts the comments of a discussion that a member has not read, and finds the first of them. `read` is what they have read, null for
-- nothing. It begins at the first comment that may be unread. Without a membership it reads nothing.
create function count_unread(discussion bigint, member bigint, joined_at timestamptz, read int8multirange)
returns table (count bigint, first bigint)
language sql stable
begin atomic
    select count(k.id), min(k.id)
    from comments k
    where joined_at is not null
      and k.discussion_id = discussion
      and k.id >= lower('{[1,)}'::int8multirange - coalesce(read, '{}'))
      and k.deleted_at is null and k.author_id <> member and k.created_at > joined_at
      and not k.id <@ coalesce(read, '{}'::int8multirange);
end;

-- How many comments of a discussion a member has not read, and the first of them: what their row says, if it still holds, or else by
-- counting. `comments` is the number of all comments. The arguments are columns of discussions, memberships and read_states, and not
-- their rows, which PostgreSQL would put together for each discussion. It inlines both functions.
create function unread_comments(
    discussion bigint, comments bigint, version bigint, member bigint, joined_at timestamptz,
    read int8multirange, counted_version bigint, counted_joined_at timestamptz, counted bigint, counted_first bigint)
returns table (count bigint, first bigint)
language sql stable
begin atomic
    select case when counted_version = version and counted_joined_at = joined_at then counted else now.count end,
           case when counted_version = version and counted_joined_at = joined_at then counted_first else now.first end
    from count_unread(
        discussion, member,
        case when comments = 0 or counted_version = version and counted_joined_at = joined_at then null else joined_at end,
        read) now;
end;
