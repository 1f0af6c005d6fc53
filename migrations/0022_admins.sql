-- The admins of a community, who are notified of each new discussion. It may have a hundred thousand members.
create index memberships_admins on memberships (community_id) where role = 'admin';
