-- The applying credential creates and drops roles and grants what it can grant itself.
-- Run as an administrator, after the planning script: in MariaDB it reads through the view created there.
-- The account is locked until you set a password:
--   ALTER USER 'countersign_apply'@'%' IDENTIFIED BY '...' ACCOUNT UNLOCK;
CREATE USER 'countersign_apply'@'%' ACCOUNT LOCK;
GRANT SELECT ON mysql.db TO 'countersign_apply'@'%';
GRANT SELECT ON mysql.tables_priv TO 'countersign_apply'@'%';
GRANT SELECT ON mysql.columns_priv TO 'countersign_apply'@'%';
GRANT SELECT ON mysql.procs_priv TO 'countersign_apply'@'%';
GRANT SHOW DATABASES, REFERENCES ON *.* TO 'countersign_apply'@'%';
-- MariaDB requires CREATE USER to create and drop roles. That privilege can also set the password of any account,
-- including root: protect this credential like root's.
/*M! GRANT CREATE USER ON *.* TO 'countersign_apply'@'%' */;
/*M! GRANT SELECT ON countersign.accounts TO 'countersign_apply'@'%' */;
/*M! GRANT SELECT ON mysql.roles_mapping TO 'countersign_apply'@'%' */;
/*M! GRANT SELECT (db, name, type, definer) ON mysql.proc TO 'countersign_apply'@'%' */;
/*M! GRANT SELECT (db, name, definer) ON mysql.event TO 'countersign_apply'@'%' */;
-- MySQL: ROLE_ADMIN lets it grant every role that is not a system user's, and CREATE USER set comments.
/*!80000 GRANT CREATE ROLE, DROP ROLE, CREATE USER ON *.* TO 'countersign_apply'@'%' */;
/*!80000 GRANT ROLE_ADMIN ON *.* TO 'countersign_apply'@'%' */;
/*!80000 GRANT SELECT (Host, User, account_locked, password_expired, Select_priv, Insert_priv, Update_priv, Delete_priv,
  Create_priv, Drop_priv, Reload_priv, Shutdown_priv, Process_priv, File_priv, Grant_priv, References_priv, Index_priv,
  Alter_priv, Show_db_priv, Super_priv, Create_tmp_table_priv, Lock_tables_priv, Execute_priv, Repl_slave_priv,
  Repl_client_priv, Create_view_priv, Show_view_priv, Create_routine_priv, Alter_routine_priv, Create_user_priv,
  Event_priv, Trigger_priv, Create_tablespace_priv, Create_role_priv, Drop_role_priv)
  ON mysql.user TO 'countersign_apply'@'%' */;
/*!80000 GRANT SELECT ON mysql.role_edges TO 'countersign_apply'@'%' */;
/*!80000 GRANT SELECT ON mysql.global_grants TO 'countersign_apply'@'%' */;
/*!80020 GRANT SHOW_ROUTINE ON *.* TO 'countersign_apply'@'%' */;
-- It can grant only privileges that it holds itself. Grant them in the databases concerned:
--   GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON `sales`.* TO 'countersign_apply'@'%' WITH GRANT OPTION;
-- Write _ and % in a database's name there as \_ and \%: unescaped, they match any character.
-- In MariaDB it also needs ADMIN on each role that it did not create, to grant it to others:
--   GRANT base_reader TO 'countersign_apply'@'%' WITH ADMIN OPTION;
-- Before it drops a role it looks for views, triggers, routines and events that run with the role's privileges. It
-- sees views and triggers only in databases where it holds SHOW VIEW and TRIGGER.
