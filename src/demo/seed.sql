-- A small demo: five people, three communities, two articles, some discussions.
insert into users (id, username) values (1, 'ada'), (2, 'grace'), (3, 'emmy'), (4, 'alan'), (5, 'marie');
insert into communities (id, name, slug, kind) values
    (1, 'Open methods', 'open-methods', 'public'),
    (2, 'Replication lab', 'replication-lab', 'private'),
    (3, 'Blind review', 'blind-review', 'hidden');
insert into memberships (user_id, community_id, role) values
    (1, 1, 'admin'), (2, 1, 'moderator'), (3, 1, 'member'), (4, 1, 'reviewer'), (5, 1, 'member'),
    (1, 2, 'member'), (2, 2, 'admin'), (3, 2, 'member'),
    (1, 3, 'member'), (3, 3, 'admin'), (4, 3, 'reviewer');
-- They were there before anything was written, so that they have something to read.
update memberships set created_at = now() - interval '3 days';
insert into articles (id, title, slug) values
    (1, 'Small samples, large claims: effect sizes in 400 preregistered studies', 'small-samples-large-claims'),
    (2, 'A reproducible pipeline for single-cell atlases', 'single-cell-atlas-pipeline');
insert into community_articles (community_id, article_id, is_pseudonymous) values (1, 1, false), (2, 1, false), (3, 1, true), (1, 2, false);

insert into discussions (community_id, article_id, author_id, topic, text, comment_count, created_at, updated_at) values
    (1, 1, 2, 'Is n = 12 enough for the main claim?', E'The headline effect comes from **twelve** participants a group.\n\nThe appendix reports a power of 0.8 for *d* = 1.2, which seems optimistic. Has anyone tried to recompute it?', 3, now() - interval '2 days', now() - interval '2 days'),
    (1, 1, 3, 'Where is the raw data?', 'The article links to a repository that holds the summary tables only. It would help to have the trial-level data for the mixed model in section 3.', 1, now() - interval '1 day', now() - interval '1 day'),
    (2, 1, 1, 'Plan for our replication', E'Three steps:\n\n1. agree on the exclusion rules\n2. preregister\n3. run both sites in the same month', 0, now() - interval '5 hours', now() - interval '5 hours'),
    (1, 2, 5, 'Which reference build was used?', 'The text says GRCh38, figure 2 says hg19. The two give different cluster borders here.', 0, now() - interval '3 hours', now() - interval '3 hours');
insert into comments (id, discussion_id, root_id, parent_id, depth, author_id, text, created_at, updated_at) overriding system value values
    (1, 1, 1, null, 1, 1, E'I did: with the reported variances I get `0.52`. The script fits in ten lines, I will add it to the wiki.', now() - interval '40 hours', now() - interval '40 hours'),
    (2, 1, 1, 1, 2, 4, 'Same here, 0.54 with the bootstrap.', now() - interval '30 hours', now() - interval '30 hours'),
    (3, 1, 3, null, 1, 5, 'The replication in the follow-up had 48 a group and found about half the effect.', now() - interval '20 hours', now() - interval '20 hours'),
    (4, 2, 4, null, 1, 2, 'The authors answered my mail: it will be there with the next version.', now() - interval '10 hours', now() - interval '10 hours');
select setval(pg_get_serial_sequence('comments', 'id'), 4);
select setval(pg_get_serial_sequence('users', 'id'), 5), setval(pg_get_serial_sequence('communities', 'id'), 3),
       setval(pg_get_serial_sequence('articles', 'id'), 2);

insert into discussion_votes (discussion_id, user_id, value) values (1, 1, 1), (1, 4, 1), (1, 5, 1), (2, 1, 1), (2, 5, 1);
insert into comment_votes (comment_id, user_id, value) values (1, 2, 1), (1, 4, 1), (1, 5, 1), (2, 1, 1), (3, 1, 1), (3, 2, -1);
update discussions d set upvotes = (select count(*) from discussion_votes v where v.discussion_id = d.id and v.value = 1);
update comments k set upvotes = (select count(*) from comment_votes v where v.comment_id = k.id and v.value = 1),
                      downvotes = (select count(*) from comment_votes v where v.comment_id = k.id and v.value = -1);
