package mysql

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/schemas"
)

func TestJoinName(t *testing.T) {
	t.Parallel()
	for want, parts := range map[string][]string{
		"sales.orders":       {"sales", "orders"},
		"sales.orders.id":    {"sales", "orders", "id"},
		"`my.db`.orders":     {"my.db", "orders"},
		"`a``b`.c d":         {"a`b", "c d"},
		"my-db.it's":         {"my-db", "it's"},
		"``.x":               {"", "x"},
		"`.`.```````.`":      {".", "```."},
		"名前.é":               {"名前", "é"},
		"a_b.100%":           {"a_b", "100%"},
		`back\slash.x`:       {`back\slash`, "x"},
		"`a.b`.`c.d`.`e``f`": {"a.b", "c.d", "e`f"},
	} {
		if got := joinName(parts...); got != want {
			t.Errorf("joinName(%q) = %s, want %s", parts, got, want)
		}
		if got, err := splitName(want, len(parts)); err != nil || !slices.Equal(got, parts) {
			t.Errorf("splitName(%s) = %q, %v, want %q", want, got, err, parts)
		}
	}
	for _, bad := range []string{"", "orders", "a.b.c", "`a`.b", "a`b.c", "`a.b", "`a.b`c.d", "`a.b`x", "a.`b", "`", "``", "a.b`"} {
		if got, err := splitName(bad, 2); err == nil {
			t.Errorf("splitName(%s) = %q, want an error", bad, got)
		}
	}
}

func TestDatabasePatterns(t *testing.T) {
	t.Parallel()
	for pattern, name := range map[string]string{`sales`: `sales`, `my\_db`: `my_db`, `100\%`: `100%`, `a\\b`: `a\b`, `\\\_\%`: `\_%`, ``: ``, `é`: `é`, `*`: `*`} {
		if got, ok := database(pattern); !ok || got != name {
			t.Errorf("database(%s) = %s, %v, want %s", pattern, got, ok, name)
		}
		if got := escapeDatabase(name); got != pattern {
			t.Errorf("escapeDatabase(%s) = %s, want %s", name, got, pattern)
		}
	}
	// The last three match one database, in a spelling that is not ours: they are revoked in that spelling.
	for _, pattern := range []string{`my_db`, `%`, `sales_%`, `a\_b_c`, `a\b`, `a\`, `\x\_`} {
		if got, ok := database(pattern); ok {
			t.Errorf("database(%s) = %s, want a pattern", pattern, got)
		}
	}
}

func TestAccountNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]accountID{
		"alice@%": {"alice", "%"}, "app@10.0.0.%": {"app", "10.0.0.%"}, "we@ird@localhost": {"we@ird", "localhost"},
		"@localhost": {"", "localhost"}, "it's `me`@::1": {"it's `me`", "::1"}, "net@10.0.0.0/255.255.255.0": {"net", "10.0.0.0/255.255.255.0"},
	} {
		if got, ok := parseUser(name); !ok || got != want || got.userName() != name {
			t.Errorf("parseUser(%s) = %q, %v, want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"", "alice", "alice@", "@"} {
		if got, ok := parseUser(name); ok {
			t.Errorf("parseUser(%s) = %q, want none", name, got)
		}
	}
	for _, c := range []struct {
		d    dialect
		name string
		want accountID
		sql  string
	}{
		{mariaDB, "reader", accountID{"reader", ""}, "`reader`"},
		{mariaDB, "a@b", accountID{"a@b", ""}, "`a@b`"},
		{mariaDB, "ti`ck", accountID{"ti`ck", ""}, "`ti``ck`"},
		{mySQL, "reader", accountID{"reader", "%"}, "`reader`@`%`"},
		{mySQL, "reader@localhost", accountID{"reader", "localhost"}, "`reader`@`localhost`"},
		{mySQL, "a@b@%", accountID{"a@b", "%"}, "`a@b`@`%`"},
		{mySQL, "a@b@c", accountID{"a@b", "c"}, "`a@b`@`c`"},
		{mySQL, "ti`ck@h`st", accountID{"ti`ck", "h`st"}, "`ti``ck`@`h``st`"},
	} {
		got, ok := c.d.role(c.name)
		if !ok || got != c.want || c.d.roleName(got) != c.name || got.sql() != c.sql {
			t.Errorf("%v role(%s) = %q (%s), %v, want %q (%s)", c.d, c.name, got, got.sql(), ok, c.want, c.sql)
		}
	}
	// Each role has one name, so the longer forms of the short ones are invalid.
	for _, name := range []string{"", "reader@%", "reader@", "@localhost", "@"} {
		if got, ok := mySQL.role(name); ok {
			t.Errorf("MySQL role(%s) = %q, want none", name, got)
		}
	}
}

// TestRoleNameRules holds the rules to what the dialects take for a name.
func TestRoleNameRules(t *testing.T) {
	t.Parallel()
	for _, d := range []dialect{mariaDB, mySQL} {
		rule := d.narrow("", true, nil).Types[0].Names
		for _, name := range []string{"reader", "a@b", "a@b@%", "a@b@c", "reader@%", "reader@", "@h", "@", "a@%x", "a@b%", strings.Repeat("n", 32), strings.Repeat("é", 32) + "@h"} {
			_, ok := d.role(name)
			if err := rule.Check(name); (err == nil) != ok {
				t.Errorf("%v: the rule returns %v for the name %s, role returns %v", d, err, name, ok)
			}
			if d == mySQL && ok && description().Types[0].Names.Check(name) != nil {
				t.Errorf("the general rule refuses %s", name)
			}
		}
		for _, name := range []string{"PUBLIC", "NONE", "trailing ", "😀", "nul\x00", strings.Repeat("n", 129), "\xff"} {
			if rule.Check(name) == nil {
				t.Errorf("%v: the rule takes %q", d, name)
			}
		}
	}
	if mySQL.narrow("", true, nil).Types[0].Names.Check(strings.Repeat("n", 33)) == nil {
		t.Error("MySQL takes 33 characters")
	}
	if err := mariaDB.narrow("", true, nil).Types[0].Names.Check(strings.Repeat("é", 128)); err != nil {
		t.Errorf("MariaDB: %v", err)
	}
}

func TestParseRoles(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]accountID{
		"NONE": nil, "": nil, "`a`@`%`": {{"a", "%"}}, "`a`@`%`,`b``c`@`local,host`": {{"a", "%"}, {"b`c", "local,host"}}, "`a`@": nil, "`a": nil,
	} {
		if got := parseRoles(text); !slices.Equal(got, want) {
			t.Errorf("parseRoles(%s) = %q, want %q", text, got, want)
		}
	}
}

func TestPrivilegeColumns(t *testing.T) {
	t.Parallel()
	for _, p := range slices.Concat(staticGlobal(), databasePrivileges()) {
		if got := columnPrivilege(privilegeColumn(p)); got != p {
			t.Errorf("%s is in the column %s, which is read as %s", p, privilegeColumn(p), got)
		}
	}
	for p, want := range map[string]string{"SELECT": "Select_priv", grantOption: "Grant_priv", "CREATE TEMPORARY TABLES": "Create_tmp_table_priv",
		"SHOW DATABASES": "Show_db_priv", "REPLICATION CLIENT": "Repl_client_priv", "CREATE TABLESPACE": "Create_tablespace_priv"} {
		if got := privilegeColumn(p); got != want {
			t.Errorf("privilegeColumn(%s) = %s, want %s", p, got, want)
		}
	}
}

// FuzzQuote reads a quoted identifier back as the servers' lexers do: nothing of it ends before the end.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a", "`", "``", "a`b", "`; DROP ROLE x; --", "a\\`", "'", `"`, "\\", "é`", "\xff`"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		q := quote(name)
		if closing(q) != len(q)-1 {
			t.Fatalf("%q ends at %d, want %d", q, closing(q), len(q)-1)
		}
		if got := strings.ReplaceAll(q[1:len(q)-1], "``", "`"); got != name {
			t.Fatalf("%q is read as %q, want %q", q, got, name)
		}
		s := quoteText(name)
		if inner := strings.ReplaceAll(s[1:len(s)-1], "''", ""); strings.Contains(inner, "'") || s[0] != '\'' || s[len(s)-1] != '\'' {
			t.Fatalf("the text %q ends too early", s)
		}
	})
}

// FuzzNames reads names of all kinds, and writes each that is one in the one way there is.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"a.b", "`a.b`.c", "a.b.c", "alice@%", "a@b@c", "reader", `my\_db`, "a``b", "`", "``.``", "@", "`a`@`%`"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, n := range []int{2, 3} {
			if parts, err := splitName(name, n); err == nil && (len(parts) != n || joinName(parts...) != name) {
				t.Errorf("splitName(%q) = %q, which is written %q", name, parts, joinName(parts...))
			}
		}
		// Whatever the parts, their name is read back.
		if got, err := splitName(joinName(name, "t"), 2); err != nil || got[0] != name || got[1] != "t" {
			t.Errorf("splitName(%q) = %q, %v", joinName(name, "t"), got, err)
		}
		if got, ok := database(escapeDatabase(name)); !ok || got != name {
			t.Errorf("database(%q) = %q, %v", escapeDatabase(name), got, ok)
		}
		if got, ok := database(name); ok && escapeDatabase(got) != name {
			t.Errorf("database(%q) = %q, which is written %q", name, got, escapeDatabase(got))
		}
		if a, ok := parseUser(name); ok && a.userName() != name {
			t.Errorf("parseUser(%q) = %q", name, a)
		}
		for _, d := range []dialect{mariaDB, mySQL} {
			if a, ok := d.role(name); ok && d.roleName(a) != name {
				t.Errorf("%v role(%q) = %q", d, name, a)
			}
		}
		for _, a := range parseRoles(name) {
			if strings.Contains(name, "``") {
				continue
			}
			if !strings.Contains(name, quote(a.user)) {
				t.Errorf("parseRoles(%q) has %q", name, a)
			}
		}
	})
}

// FuzzCatalogue makes a state of whatever rows a server may answer with.
func FuzzCatalogue(f *testing.F) {
	f.Add("account|r||3|1|0|0\nedge||u|r||Y|\nend||||||", true)
	f.Add("account|r|%|SELECT,CREATE ROLE||1|1\ndatabase|r|%|a_b|SELECT||\ncolumn|r|%|d|t|c|Select,Update\nroutine|r|%|d|f|FUNCTION|Execute,Grant\ndynamic|r|%|BACKUP_ADMIN|Y||\ncomment|r|%|x|||\nend||||||", false)
	f.Add("account|r|%|,SELECT||1|1\ndynamic|r|%|\nroutine|r|%|d|f||Execute\nend", false)
	f.Fuzz(func(t *testing.T, text string, maria bool) {
		d := mySQL
		if maria {
			d = mariaDB
		}
		l := newLoader(d)
		for _, line := range strings.Split(text, "\n") {
			row := strings.SplitN(line, "|", 7)
			for len(row) < 7 {
				row = append(row, "")
			}
			if l.row(row) != nil {
				return
			}
		}
		c, err := l.finish()
		if err != nil {
			return
		}
		r := &reader{dialect: d, description: d.narrow("", d == mySQL, map[string]bool{"SELECT": true})}
		state := r.state(c, schemas.Selection{})
		for i, conn := range state.Connections {
			if i > 0 && state.Connections[i-1].Name.Compare(conn.Name) >= 0 && d == mariaDB {
				t.Errorf("%q is before %q", state.Connections[i-1].Name, conn.Name)
			}
			for _, e := range conn.Entitlements {
				if e.Target.Type == "" || e.Privilege == "" {
					t.Errorf("%q has %+v", conn.Name, e)
				}
			}
		}
	})
}
