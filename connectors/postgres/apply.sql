-- The applying credential creates and drops roles and grants what it can grant itself.
-- Run as an administrator, in the database that the DSN names. Set a password yourself.
CREATE ROLE countersign_apply LOGIN NOSUPERUSER NOCREATEDB CREATEROLE NOREPLICATION NOBYPASSRLS;
DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO countersign_apply', current_database()); END $$;
-- To grant privileges on objects it must own them or be a member of their owner. Add your owners:
--   GRANT sales_owner TO countersign_apply;
-- On PostgreSQL 16 and later it also needs ADMIN on each role that it did not create:
--   GRANT base_reader TO countersign_apply WITH ADMIN OPTION;
-- Setting or clearing replication and bypassrls requires a superuser on PostgreSQL 15. From 16 on it requires a role
-- that has them itself; the same goes for createdb.
-- If a request sets reassign_to, it joins both roles for that transaction and leaves them again.
