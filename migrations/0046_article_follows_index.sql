-- For the cascade of an article alone. With the community too PostgreSQL took it for as good as the primary key, and read all who follow an
-- article to find what one of them said.
create index article_follows_of_article on article_follows (article_id);
drop index article_follows_article;
