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
// in place, and then its parts are listed beside it. schema_sequences and schema_functions are alike. A table of a role
// that the credential can't act for is left out, with an error that names it; the others are granted all the same.
//
// default_tables, default_sequences and default_functions are what a role gets on objects that another creates later:
// sales.loader are those of loader in the schema sales, loader those in any schema. default_schemas are schemas.
//
// An application covers one database, or those that config.databases names. With several, what is in them is named
// shop/sales.orders, and each is changed in a transaction of its own. One that can't be read is unknown by itself.
//
// Reading takes a handful of catalogue queries in one read-only snapshot, regardless of the number of roles.
// Applying takes one transaction in each database. Its statements are grouped by object and sent together. If one fails, the batch is
// retried one operation at a time, each in a savepoint, so that only the failing operation is lost.
//
// It is larger than other connectors because reading, changing and foreseeing share the server's names, ids and access
// lists, which are best read and changed together.
//
// Superusers, pg_ roles, roles reserved by managed services and the roles that countersign logs in with are never
// changed. A role that owns objects is deleted only if the request sets reassign_to.
package postgres
