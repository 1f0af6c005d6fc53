-- When a community was removed; null while it exists. It is as if all its articles were removed (0040). Whoever sets it deletes its
-- memberships too: their trigger ends the delivery to the former members.
alter table communities add column removed_at timestamptz;
