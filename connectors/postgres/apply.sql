-- The applying credential creates and drops roles and grants what it can grant itself.
-- Run as an administrator, in the database that the DSN names. Set a password yourself.
CREATE ROLE countersign_apply LOGIN NOSUPERUSER NOCREATEDB CREATEROLE NOREPLICATION NOBYPASSRLS;
DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO countersign_apply', current_database()); END $$;
DO $$ BEGIN
  IF current_setting('server_version_num')::int >= 160000 THEN
    -- It then has the privileges of the roles that it creates, which it needs to delete them.
    EXECUTE 'ALTER ROLE countersign_apply SET createrole_self_grant = ''set, inherit''';
  END IF;
  -- The lease keeps two processes from changing roles at the same time. Only its owner can lock it.
  IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
    GRANT countersign_apply TO CURRENT_USER;
  END IF;
  CREATE SCHEMA countersign AUTHORIZATION countersign_apply;
  CREATE TABLE countersign.lease (one boolean PRIMARY KEY DEFAULT true CHECK (one), epoch bigint NOT NULL DEFAULT 0);
  INSERT INTO countersign.lease DEFAULT VALUES;
  ALTER TABLE countersign.lease OWNER TO countersign_apply;
  IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
    REVOKE countersign_apply FROM CURRENT_USER;
  END IF;
END $$;
-- If config.databases names others, it connects to them too: GRANT CONNECT ON DATABASE sales TO countersign_apply;
-- To grant privileges on objects it must own them or be a member of their owner. Add your owners:
--   GRANT sales_owner TO countersign_apply;
-- On PostgreSQL 16 and later it also needs ADMIN on each role that it did not create:
--   GRANT base_reader TO countersign_apply WITH ADMIN OPTION;
-- Setting or clearing replication and bypassrls requires a superuser on PostgreSQL 15. From 16 on it requires a role
-- that has them itself; the same goes for createdb.
-- If a request sets reassign_to, it joins both roles for that transaction and leaves them again.
