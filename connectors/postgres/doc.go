// Package postgres reads and changes roles and their privileges in a PostgreSQL cluster (15 and later).
//
// A connection is a role. It can be a member of other roles ("role"), have members of its own ("user": a role that
// can log in and doesn't have members; "member": any other role that wasn't read as a connection, such as one outside
// the scope), and hold privileges on objects of the database that the DSN names.
//
// Objects are named exactly as the server's format('%I.%I') writes them: sales.orders, "We.ird"."Table". Role names
// are plain. Functions are named as regprocedure writes them with an empty search_path: sales.total(integer). The type
// schema_tables covers all tables and views of a schema, including those that the owner of the schema or of a table
// in it creates later (ALTER DEFAULT PRIVILEGES FOR ROLE each of them). It counts as held only when all of that is
// in place.
//
// Reading takes a handful of catalogue queries in one read-only snapshot, regardless of the number of roles.
// Applying takes one transaction. Its statements are grouped by object and sent together. If one fails, the batch is
// retried one operation at a time, each in a savepoint, so that only the failing operation is lost.
//
// Superusers, pg_ roles, roles reserved by managed services and the roles that countersign logs in with are never
// changed. A role that owns objects is deleted only if the request sets reassign_to.
package postgres
