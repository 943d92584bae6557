package ledger

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVerifyFindsTampering(t *testing.T) {
	t.Parallel()
	const off = `DROP TRIGGER records_no_update; DROP TRIGGER records_no_delete; DROP TRIGGER records_no_gap; DROP TRIGGER head_grows; DROP TRIGGER head_stays`
	type result = []string
	for name, tt := range map[string]struct {
		sql     []string
		outside bool // the head and the count are known from an earlier export
		want    result
	}{
		"nothing":            {nil, true, result{}},
		"content changed":    {[]string{`UPDATE records SET body = replace(body, 'two', 'zwo') WHERE sequence = 2`}, false, result{"2: its content does not match its hash: it was changed"}},
		"content and hash":   {[]string{`UPDATE records SET body = '{"sequence":2}', hash = '` + hashOf([]byte(`{"sequence":2}`)) + `' WHERE sequence = 2`}, false, result{"2: it does not follow the record before it", "3: it does not follow the record before it"}},
		"not JSON":           {[]string{`UPDATE records SET body = 'x' WHERE sequence = 3`}, false, result{"3: it cannot be read: invalid character 'x' looking for beginning of value"}},
		"hash":               {[]string{`UPDATE records SET hash = 'x' WHERE sequence = 1`}, false, result{"1: its content does not match its hash: it was changed", "2: it does not follow the record before it"}},
		"one removed":        {[]string{`DELETE FROM records WHERE sequence = 2`}, false, result{"2: it is missing: the next record is 3", "3: it does not follow the record before it"}},
		"the first removed":  {[]string{`DELETE FROM records WHERE sequence = 1`}, false, result{"1: it is missing: the next record is 2", "2: it does not follow the record before it"}},
		"removed and closed": {[]string{`DELETE FROM records WHERE sequence = 2`, `UPDATE records SET sequence = 2 WHERE sequence = 3`, `UPDATE records SET sequence = 3 WHERE sequence = 4`}, false, result{"2: it was record 3: it was moved", "3: it was record 4: it was moved", "4: it was the last record once, and now record 3 is: the end was cut off or put on"}},
		"two exchanged":      {[]string{`UPDATE records SET sequence = 99 WHERE sequence = 2`, `UPDATE records SET sequence = 2 WHERE sequence = 3`, `UPDATE records SET sequence = 3 WHERE sequence = 99`}, false, result{"2: it was record 3: it was moved", "3: it was record 2: it was moved", "4: it does not follow the record before it"}},
		"the end removed":    {[]string{`DELETE FROM records WHERE sequence >= 3`}, false, result{"4: it was the last record once, and now record 2 is: the end was cut off or put on"}},
		"one put on":         {[]string{`INSERT INTO records SELECT 5, type, application, run, time, hash, body FROM records WHERE sequence = 4`}, false, result{"5: it was record 4: it was moved", "4: it was the last record once, and now record 5 is: the end was cut off or put on"}},
		"the head removed":   {[]string{`DELETE FROM head`}, false, result{"0: the note of the last record was removed"}},
		"filed elsewhere":    {[]string{`UPDATE records SET type = 'run' WHERE sequence = 2`, `UPDATE records SET time = '2020-01-01T00:00:00.000000Z' WHERE sequence = 3`}, false, result{"2: it is filed under another type, application, run or time than its own", "3: it is filed under another type, application, run or time than its own"}},
		"cut off with the head": {[]string{`DELETE FROM records WHERE sequence >= 3`, `UPDATE head SET sequence = 2, hash = (SELECT hash FROM records WHERE sequence = 2)`}, true,
			result{"4: the given head was not found: the ledger was cut off, or replaced"}},
		"emptied with the head": {[]string{`DELETE FROM records`, `UPDATE head SET sequence = 0, hash = ''`}, true, result{"4: the given head was not found: the ledger was cut off, or replaced"}},
		"a verdict forged":      {[]string{`INSERT INTO admissions VALUES ('evil', 1)`}, false, result{"0: the table admissions does not follow from the records: it was changed"}},
		"a baseline forged": {[]string{`INSERT INTO baseline VALUES ('warehouse', 'c', 'present:', 1, '')`, `DELETE FROM first_runs`, `INSERT INTO first_runs VALUES ('warehouse', '9')`}, false,
			result{"0: the table baseline does not follow from the records: it was changed", "0: the table first_runs does not follow from the records: it was changed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _ := temp(t)
			all := appendTo(t, l, note("one"), note("two"), note("three"), note("four"))
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			raw(t, l.config.Path, append([]string{off}, tt.sql...)...)
			var o VerifyOptions
			if tt.outside {
				o = VerifyOptions{Head: all[3].Hash, Count: 4}
			}
			again, err := Open(t.Context(), Config{Path: l.config.Path, ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = again.Close() })
			if diff := cmp.Diff(tt.want, problems(t, again, o)); diff != "" {
				t.Errorf("Verify() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVerifyAgainstAHead(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	all := appendTo(t, l, note("one"), note("two"), note("three"))
	lost := []string{"0: the given head was not found: the ledger was cut off, or replaced"}
	for name, tt := range map[string]struct {
		o    VerifyOptions
		want []string
	}{
		"the last":             {VerifyOptions{Head: all[2].Hash, Count: 3}, []string{}},
		"an earlier":           {VerifyOptions{Head: all[1].Hash, Count: 2}, []string{}},
		"without a count":      {VerifyOptions{Head: all[0].Hash}, []string{}},
		"a count alone":        {VerifyOptions{Count: 3}, []string{}},
		"fewer than the count": {VerifyOptions{Count: 5}, []string{"5: there were this many records once, and now there are 3: the ledger was cut off"}},
		"another place":        {VerifyOptions{Head: all[1].Hash, Count: 3}, []string{"3" + lost[0][1:]}},
		"another chain":        {VerifyOptions{Head: strings.Repeat("0", 64)}, lost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, problems(t, l, tt.o)); diff != "" {
				t.Error(diff)
			}
		})
	}
	none, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "none"), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lost, problems(t, none, VerifyOptions{Head: all[0].Hash})); diff != "" {
		t.Errorf("a ledger that is gone (-want +got):\n%s", diff)
	}
}
