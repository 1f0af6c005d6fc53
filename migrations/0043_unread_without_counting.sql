-- As the function of 0017 with the same name, which stays for an older release beside this schema. It counts without going through all
-- comments where a member has read none and was a member before the discussion began: all live comments but their own are unread then.
-- `offset 0` makes PostgreSQL work it out once for each discussion, and not again wherever a statement names the result.
create function unread_comments(
    discussion bigint, created_at timestamptz, comments bigint, version bigint, member bigint, joined_at timestamptz,
    read int8multirange, counted_version bigint, counted_joined_at timestamptz, counted bigint, counted_first bigint)
returns table (count bigint, first bigint)
language sql stable
begin atomic
    select case
            when counted_version = version and counted_joined_at = joined_at then counted
            when comments = 0 or joined_at is null then 0
            when created_at > joined_at and (read is null or isempty(read)) then comments - (
                select count(*) from comments k
                where k.author_id = member and k.discussion_id = discussion and k.deleted_at is null)
            else (select count from count_unread(discussion, member, joined_at, read)) end,
        case
            when counted_version = version and counted_joined_at = joined_at then counted_first
            when comments > 0 and joined_at is not null then (
                select min(k.id) from comments k
                where k.discussion_id = discussion and k.deleted_at is null and k.author_id <> member and k.created_at > joined_at
                  and k.id >= lower('{[1,)}'::int8multirange - coalesce(read, '{}')) and not k.id <@ coalesce(read, '{}')) end
    offset 0;
end;
