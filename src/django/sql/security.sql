-- Functions of the mirror name our tables without a schema, and run inside Django's transactions too, with whatever search_path these
-- have. So each has its own. Nobody but the owner may call them: see migrations/0008_definer.sql.
do $$
declare
    called text;
begin
    for called in
        select p.oid::regprocedure from pg_proc p where p.pronamespace = 'django'::regnamespace and p.provolatile <> 'i'
    loop
        execute format('alter function %s set search_path = pg_catalog, %I, pg_temp', called, current_schema());
        execute format('revoke execute on function %s from public', called);
    end loop;
end $$;
