package mysql

import (
	"errors"
	"strconv"
	"strings"
)

// quote writes an identifier, or either half of an account's name, into a statement. Backticks are the one form
// that every sql_mode takes, with nothing else to escape in it. The driver lacks a function for this.
func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// quoteText writes a string into a statement. Our sessions have NO_BACKSLASH_ESCAPES (see setup), so that the
// quote is the only character that means something.
func quoteText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// escapeDatabase is a database's name as a privilege is given on it: there, alone among all names, _ and % match
// any character, and a backslash takes the next one as it is.
func escapeDatabase(name string) string {
	return strings.NewReplacer(`\`, `\\`, `_`, `\_`, `%`, `\%`).Replace(name)
}

// database is the inverse of escapeDatabase. It is false for what is not such a form: a pattern that matches
// any number of databases, or another spelling.
func database(pattern string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '_', '%':
			return "", false
		case '\\':
			i++
			if i == len(pattern) || !strings.ContainsRune(`\_%`, rune(pattern[i])) {
				return "", false
			}
		}
		b.WriteByte(pattern[i])
	}
	return b.String(), true
}

// joinName is the name of an object within a database: its parts with dots between them. A part that has a dot
// or a backtick in it is put in backticks, doubled where one is meant, so that each object has exactly one name.
func joinName(parts ...string) string {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteByte('.')
		}
		if p == "" || strings.ContainsAny(p, ".`") {
			p = quote(p)
		}
		b.WriteString(p)
	}
	return b.String()
}

// splitName is the inverse of joinName, for so many parts.
func splitName(name string, parts int) ([]string, error) {
	var out []string
	for rest, more := name, true; more; {
		var part string
		if strings.HasPrefix(rest, "`") {
			end := closing(rest)
			if end < 0 {
				return nil, errors.New("a backtick is missing at the end of " + strconv.QuoteToASCII(name))
			}
			part, rest = strings.ReplaceAll(rest[1:end], "``", "`"), rest[end+1:]
			if rest != "" && rest[0] != '.' {
				return nil, errors.New("after a part in backticks, " + strconv.QuoteToASCII(name) + " goes on without a dot")
			}
			more = rest != ""
			rest = strings.TrimPrefix(rest, ".")
		} else {
			part, rest, more = strings.Cut(rest, ".")
		}
		out = append(out, part)
	}
	if len(out) != parts {
		return nil, errors.New(strconv.QuoteToASCII(name) + " has " + strconv.Itoa(len(out)) + " parts, want " + strconv.Itoa(parts) +
			", with dots between them: " + []string{1: "name", 2: "database.name", 3: "database.table.column"}[parts])
	}
	if is := joinName(out...); is != name {
		return nil, errors.New(strconv.QuoteToASCII(name) + " must be written " + strconv.QuoteToASCII(is))
	}
	return out, nil
}

// closing returns the index of the closing backtick of s, which begins with one, or -1.
func closing(s string) int {
	for i := 1; i < len(s); i++ {
		if s[i] != '`' {
			continue
		}
		if i+1 < len(s) && s[i+1] == '`' {
			i++
			continue
		}
		return i
	}
	return -1
}

// accountID identifies an account or role. Host is "" for a role of MariaDB.
type accountID struct{ user, host string }

// userName returns user@host. Hosts can't contain an @, so nothing is quoted.
func (a accountID) userName() string { return a.user + "@" + a.host }

func parseUser(name string) (accountID, bool) {
	i := strings.LastIndexByte(name, '@')
	if i < 0 || i == len(name)-1 {
		return accountID{}, false
	}
	return accountID{name[:i], name[i+1:]}, true
}

// roleName is the name of a role: in MariaDB the name itself, in MySQL the user part, with @host only where the
// host is another than % or an @ would be taken for the start of one.
func (d dialect) roleName(a accountID) string {
	if d == mariaDB || (a.host == "%" && !strings.Contains(a.user, "@")) {
		return a.user
	}
	return a.userName()
}

// role is the inverse of roleName. It returns false for a name that roleName never returns, so each role has exactly
// one name.
func (d dialect) role(name string) (accountID, bool) {
	if d == mariaDB {
		return accountID{user: name}, name != ""
	}
	a := accountID{name, "%"}
	if strings.Contains(name, "@") {
		var ok bool
		if a, ok = parseUser(name); !ok {
			return a, false
		}
	}
	return a, a.user != "" && d.roleName(a) == name
}

// sql is the account in a statement.
func (a accountID) sql() string {
	if a.host == "" {
		return quote(a.user)
	}
	return quote(a.user) + "@" + quote(a.host)
}
