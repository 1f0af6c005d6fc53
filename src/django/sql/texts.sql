-- How texts of Django become texts of ours. The rules for ours are in src/text.rs.

-- Whether a text has no visible character. It knows the characters that people and programs leave behind: controls, spaces, joiners,
-- marks without a letter, fillers. A rarer one counts as visible.
create or replace function django.is_blank(of_text text) returns boolean
language sql immutable parallel safe as $$
    select of_text !~ ('[^\u0001-\u0020\u007f-\u00a0\u00ad\u0300-\u036f\u0378\u0379\u0483-\u0489\u0591-\u05bd\u0600-\u0605\u0610-\u061a\u061c'
        '\u064b-\u065f\u06dd\u070f\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u1ab0-\u1aff\u1dc0-\u1dff\u2000-\u200f\u2028-\u202f\u205f-\u206f'
        '\u20d0-\u20f0\u2800\u3000\u302a-\u302f\u3164\ufe00-\ufe0f\ufe20-\ufe2f\ufeff\uffa0\ufff0-\ufffb\U0001d159\U0001d173-\U0001d17a'
        '\U000e0000-\U000e0fff]')
$$;

-- Django's mark of a deletion.
create or replace function django.is_deletion_mark(of_text text) returns boolean
language sql immutable parallel safe as $$
    select btrim(of_text, E' \t\r\n') = '[deleted]'
$$;

-- The first line of a text that shows something, without the marks of Markdown before it, and with `most` characters at most. Null for none.
create or replace function django.first_line(of_text text, most integer) returns text
language sql immutable parallel safe as $$
    select case when char_length(line) > most then rtrim(left(line, most - 1)) || '…' else line end
    from (
        select btrim(regexp_replace(l, '^[\s>#*+-]+', '')) as line, place
        from regexp_split_to_table(left(of_text, 5000), '[\r\n\u2028\u2029]+') with ordinality as lines (l, place)
    ) found
    where not django.is_blank(line)
    order by place limit 1
$$;

-- A topic on one line, without controls and without what changes the direction of the text around it. Null if nothing is left.
create or replace function django.clean_topic(of_topic text) returns text
language sql immutable parallel safe as $$
    select case when not django.is_blank(cleaned) then left(cleaned, 200) end
    from (select btrim(regexp_replace(
              of_topic, '[\u0001-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]+', ' ', 'g'))) as c (cleaned)
$$;

-- A topic. A blank one becomes the first line of the text, because readers look for a discussion by what it says.
create or replace function django.shown_topic(of_topic text, of_text text) returns text
language sql immutable parallel safe as $$
    select coalesce(django.clean_topic(of_topic), django.clean_topic(django.first_line(of_text, 80)), '(no topic)')
$$;

-- A text, with `quote` before it. An empty one says so and stays its author's, who may still write there: a tombstone would say that
-- somebody deleted it. One that is too long is cut and says so; the mirror keeps the whole.
create or replace function django.shown_text(of_text text, quote text default '') returns text
language plpgsql immutable parallel safe as $$
declare
    most constant integer := 50000;
    whole text := of_text;
    note  text;
begin
    if django.is_blank(of_text) then
        return quote || '*(This text was empty.)*';
    end if;
    if char_length(whole) + char_length(quote) > most then
        whole := btrim(whole, E' \t\r\n');
        if char_length(whole) + char_length(quote) > most then
            note := format(E'\n\n*(Cut: this text had %s characters.)*', char_length(whole));
            whole := left(whole, most - char_length(quote) - char_length(note)) || note;
        end if;
    end if;
    return quote || whole;
end $$;

-- A name as Markdown shows it.
create or replace function django.escape_markdown(of_text text) returns text
language sql immutable parallel safe as $$
    select regexp_replace(of_text, '([\\`*_\[\]<>~#@])', '\\\1', 'g')
$$;

-- A picture as a `data:` address. Null for what is no PNG in base64.
create or replace function django.picture(identicon text) returns text
language sql immutable parallel safe as $$
    select case when data ~ '^iVBORw0KGgo[A-Za-z0-9+/]*={0,2}$' and char_length(data) % 4 = 0 then 'data:image/png;base64,' || data end
    from (select regexp_replace(regexp_replace(identicon, '\s', '', 'g'), '^data:image/png;base64,', '')) as d (data)
$$;
