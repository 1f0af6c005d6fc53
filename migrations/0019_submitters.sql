-- Who submitted an article. Django writes it, as the other columns of the directory.
alter table articles add column submitter_id bigint constraint articles_submitter references users on delete set null;
-- For the foreign key, and for what a user submitted.
create index articles_submitter on articles (submitter_id) where submitter_id is not null;
