-- The credential for applying: it makes and drops roles, and grants what it may itself grant.
-- Run as an administrator, in the database that the DSN names. Set a password of your own.
CREATE ROLE countersign_apply LOGIN NOSUPERUSER NOCREATEDB CREATEROLE NOREPLICATION NOBYPASSRLS;
DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO countersign_apply', current_database()); END $$;
-- To grant privileges on objects it must own them, or be in the role that does. Name your owners here:
--   GRANT sales_owner TO countersign_apply;
-- On PostgreSQL 16 and later it also needs ADMIN on each role that it did not make itself:
--   GRANT base_reader TO countersign_apply WITH ADMIN OPTION;
-- To set or unset replication and bypassrls takes a superuser on PostgreSQL 15; from 16 on, a role that has
-- them itself, and createdb likewise.
-- Where a request says reassign_to, it joins both roles for the length of the transaction and leaves them again.
