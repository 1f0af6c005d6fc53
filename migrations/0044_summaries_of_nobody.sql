-- Only admins write summaries. So where people write under pseudonyms, one under a summary would say that it is an admin's, and with one
-- admin whose it is. A summary there is of nobody: it is not kept who wrote it. The same holds for one that came from Django without an
-- author. A release before this one shows no such summary.
alter table summaries drop constraint summaries_author;
alter table summary_revisions alter column author_id drop not null;
update summary_revisions set author_id = null, pseudonym_id = null where pseudonym_id is not null;
update summaries set author_id = null, pseudonym_id = null where pseudonym_id is not null;
alter table summaries add constraint summaries_author check (text is not null or author_id is null and pseudonym_id is null);
