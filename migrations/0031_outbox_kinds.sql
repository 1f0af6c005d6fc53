-- A node that starts finds the changes of kind here. They are few, and are not pruned.
create index outbox_community_changed on outbox (community_id, event_id) where type = 'community_changed';
