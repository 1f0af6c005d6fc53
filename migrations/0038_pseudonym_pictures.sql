-- A pseudonym may have a picture, which is shown wherever its name is. Those of SciCommons come with their pseudonyms, as addresses of
-- the kind `data:`. It says nothing of the person. The server makes none.
alter table pseudonyms add column avatar_url text;
