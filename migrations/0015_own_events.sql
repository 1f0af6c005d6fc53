-- Events for one user. Until now the only ones were changes of memberships. Votes, and later read state, follows and notifications,
-- tell the user's own tabs what has changed.

-- An event for one user need not be of a community. Programs of the last release cannot read a null here, so this release writes
-- none yet.
alter table outbox alter column community_id drop not null;

-- How far the pruning of a user's own events has gone, so that a client that asks for what is pruned is told so, and no other is.
-- Changes of memberships are never pruned: they say who was a member, and are few.
create table outbox_pruned_users (
    user_id        bigint primary key,
    last_event_id  bigint not null
);
