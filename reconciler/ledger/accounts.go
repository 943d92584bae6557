package ledger

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// Account returns the id of the account that first gave a counted sign-off under a login; 0 where none did.
func (l *Ledger) Account(ctx context.Context, login string) (id int64, err error) {
	if l == nil || l.db == nil || login == "" {
		return 0, nil
	}
	// An underscore in a login matches any character here; the records are decoded to be sure.
	name := strings.ReplaceAll(login, "%", "_") + `"%`
	rows, err := l.db.QueryContext(ctx, `SELECT body FROM records WHERE type = ? AND (body LIKE ? OR body LIKE ?) ORDER BY sequence`,
		string(schemas.RecordAdmission), `%"text":"`+name, `%"person":"`+name)
	if err != nil {
		return 0, fmt.Errorf("look for the account of %s: %w", login, err)
	}
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return 0, err
		}
		var r schemas.Record
		if err := decode([]byte(body), &r); err != nil {
			return 0, fmt.Errorf("read the sign-offs of %s: %w", login, err)
		}
		if r.Admission == nil || r.Admission.Evidence == nil {
			continue
		}
		for _, a := range r.Admission.Evidence.Approvals {
			if a.Counts && a.AccountID != "" && strings.EqualFold(a.Person, login) {
				return strconv.ParseInt(a.AccountID, 10, 64)
			}
		}
	}
	return 0, rows.Err()
}
