-- The planning credential reads roles and privileges, but neither password hashes nor data.
-- Run as an administrator. Statements for only one of the two servers are comments to the other.
-- The account is locked until you set a password:
--   ALTER USER 'countersign_plan'@'%' IDENTIFIED BY '...' ACCOUNT UNLOCK;
CREATE USER 'countersign_plan'@'%' ACCOUNT LOCK;
GRANT SELECT ON mysql.db TO 'countersign_plan'@'%';
GRANT SELECT ON mysql.tables_priv TO 'countersign_plan'@'%';
GRANT SELECT ON mysql.columns_priv TO 'countersign_plan'@'%';
GRANT SELECT ON mysql.procs_priv TO 'countersign_plan'@'%';
-- These two show the names of all databases, tables and columns, but give no access to their contents.
GRANT SHOW DATABASES, REFERENCES ON *.* TO 'countersign_plan'@'%';
-- MariaDB keeps the hashes in the same column as the global privileges. Set the view in the application's
-- config: accounts_view: countersign.accounts
/*M! CREATE DATABASE IF NOT EXISTS countersign */;
/*M! CREATE OR REPLACE SQL SECURITY DEFINER VIEW countersign.accounts AS
  SELECT User, Host, JSON_VALUE(Priv, '$.access') AS Access, JSON_VALUE(Priv, '$.is_role') AS Is_role,
    JSON_VALUE(Priv, '$.account_locked') AS Locked, JSON_VALUE(Priv, '$.password_last_changed') = '0' AS Expired
  FROM mysql.global_priv */;
/*M! GRANT SELECT ON countersign.accounts TO 'countersign_plan'@'%' */;
/*M! GRANT SELECT ON mysql.roles_mapping TO 'countersign_plan'@'%' */;
/*M! GRANT SELECT (db, name, type, definer) ON mysql.proc TO 'countersign_plan'@'%' */;
/*!80000 GRANT SELECT (Host, User, account_locked, password_expired, Select_priv, Insert_priv, Update_priv, Delete_priv,
  Create_priv, Drop_priv, Reload_priv, Shutdown_priv, Process_priv, File_priv, Grant_priv, References_priv, Index_priv,
  Alter_priv, Show_db_priv, Super_priv, Create_tmp_table_priv, Lock_tables_priv, Execute_priv, Repl_slave_priv,
  Repl_client_priv, Create_view_priv, Show_view_priv, Create_routine_priv, Alter_routine_priv, Create_user_priv,
  Event_priv, Trigger_priv, Create_tablespace_priv, Create_role_priv, Drop_role_priv)
  ON mysql.user TO 'countersign_plan'@'%' */;
/*!80000 GRANT SELECT ON mysql.role_edges TO 'countersign_plan'@'%' */;
/*!80000 GRANT SELECT ON mysql.global_grants TO 'countersign_plan'@'%' */;
/*!80020 GRANT SHOW_ROUTINE ON *.* TO 'countersign_plan'@'%' */;
