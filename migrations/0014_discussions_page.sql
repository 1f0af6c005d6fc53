-- The list of an article's newest discussions in a community. The list asked for equal ids of community and article, by descending
-- ids of discussions, and for this PostgreSQL may also go backwards through the primary key, past every newer discussion of all
-- other articles. With 50,000 of these a page took 8 ms instead of 0.2 ms. The statement now compares rows and orders by all three
-- columns, which no other index gives. A comparison of rows needs columns in the same direction.
create index discussions_of_article on discussions (community_id, article_id, id);
drop index discussions_page;
