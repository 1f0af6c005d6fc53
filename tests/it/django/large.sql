-- Makes source.sql larger, for imports that are killed: some thousand rows, with badness in between.
insert into "user" (id, password, username, email, is_active, date_joined)
select i, 'pbkdf2_sha256$1000000$fixture$' || i, 'reader' || i, 'reader' || i || '@example.org', true, '2025-01-20 08:00Z'
from generate_series(100, 159) i;
insert into communities_membership (id, joined_at, community_id, user_id)
select 100 + i, timestamptz '2025-03-10 08:00Z' + i * interval '1 minute', 1 + i % 3, 100 + i % 60 from generate_series(0, 199) i;
insert into communities_community_admins (id, community_id, user_id) select 100 + i, 1 + i % 3, 100 + i from generate_series(0, 9) i;
-- Every fifth is pseudonymous, and few of their authors have a pseudonym.
insert into articles_anonymousidentity (id, fake_name, article_id, user_id, community_id)
select 100 + i, 'Reader_' || i % 7, 4, 100 + i, 2 from generate_series(0, 19) i;
insert into articles_discussion (id, topic, content, created_at, updated_at, article_id, author_id, community_id, is_pseudonymous, is_resolved)
select 1000 + i, case when i % 11 = 0 then '' else 'Topic ' || i end, case when i % 13 = 0 then '[deleted]' else 'Text ' || i end,
       timestamptz '2025-08-01 08:00Z' + i * interval '1 hour', timestamptz '2025-08-01 08:00Z' + (i + i % 3) * interval '1 hour',
       case when i % 5 = 0 then 4 else 1 + i % 2 end, 100 + i % 60, case when i % 5 = 0 then 2 when i % 7 = 0 then null else 1 + i % 2 end, i % 5 = 0, i % 4 = 0
from generate_series(0, 149) i;
-- Four of five answer the last one in their discussion, so the branches are too deep. Some answer elsewhere.
insert into articles_discussioncomment (id, content, created_at, updated_at, author_id, discussion_id, parent_id, community_id, is_pseudonymous, is_deleted)
select 1000 + i, case when i % 97 = 0 then ' ' else 'Comment ' || i end,
       timestamptz '2025-08-10 08:00Z' + i * interval '1 minute', timestamptz '2025-08-10 08:00Z' + (i + i % 2) * interval '1 minute',
       100 + i % 59, d.id, case when i % 31 = 0 and i > 0 then 999 + i when i / 150 % 5 > 0 then 850 + i end,
       d.community_id, d.is_pseudonymous, i % 41 = 0
from generate_series(0, 1499) i join articles_discussion d on d.id = 1000 + i % 150;
insert into articles_reaction (id, object_id, vote, created_at, content_type_id, user_id)
select 100 + i, 1000 + i, case when i % 3 = 0 then -1 else 1 end, '2025-09-01 08:00Z', 9, 100 + i % 60 from generate_series(0, 1499) i;
insert into articles_discussionsubscription (id, subscribed_at, is_active, article_id, community_id, community_article_id, user_id)
select 100 + i, '2025-09-02 08:00Z', i % 3 > 0, 1 + i % 2, 1 + i % 2, 1 + i % 2, 100 + i from generate_series(0, 59) i;
insert into articles_userflag (id, flag_type, entity_type, entity_id, created_at, user_id)
select 100 + i, 'unread', case when i % 10 = 0 then 'discussion' else 'comment' end,
       case when i % 10 = 0 then 1000 + i % 150 else 1000 + i end, '2025-09-03 08:00Z', 100 + i * 7 % 60
from generate_series(0, 1499) i
on conflict do nothing;
