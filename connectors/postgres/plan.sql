-- The planning credential reads the catalogue, which every role can read, and nothing else.
-- Run as an administrator, in the database that the DSN names. Set a password yourself.
CREATE ROLE countersign_plan LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE countersign_plan SET default_transaction_read_only = on;
DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO countersign_plan', current_database()); END $$;
-- If config.databases names others, it connects to them too: GRANT CONNECT ON DATABASE sales TO countersign_plan;
