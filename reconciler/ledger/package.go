package ledger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/schemas"
)

// A package is a ledger for auditors: a line for each record, and a last line with the signed note of the head. It proves
// itself with the public key alone.

// packageEnd is the last line.
type packageEnd struct {
	Note string `json:"note"`
}

// maxPackageLine bounds a line of a package.
const maxPackageLine = 64 << 20

// WritePackage writes all records. pseudonym replaces texts that name a person, as Pseudonymous does; nil leaves them.
func (l *Ledger) WritePackage(ctx context.Context, out io.Writer, pseudonym func(string) string) error {
	note, err := l.Note(ctx)
	if err != nil {
		return err
	}
	err = l.Lines(ctx, 1, func(_ int64, _, line string) error {
		if pseudonym != nil {
			var err error
			if line, err = Pseudonymous(line, pseudonym); err != nil {
				return err
			}
		}
		_, err := io.WriteString(out, line+"\n")
		return err
	})
	if err != nil {
		return fmt.Errorf("write the records: %w", err)
	}
	end, err := json.Marshal(packageEnd{note})
	if err == nil {
		_, err = out.Write(append(end, '\n'))
	}
	return err
}

// VerifyPackage proves a package with a public key: the one that signs now, or an earlier one that let it. Texts that name a
// person may be replaced by pseudonyms.
func VerifyPackage(in io.Reader, key *seal.Public) (schemas.AuditVerification, error) {
	v := verifier{report: schemas.AuditVerification{Problems: []schemas.AuditProblem{}}}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxPackageLine)
	previous, note := "", ""
	var keys []schemas.Record
	for ended := false; lines.Scan(); {
		line := lines.Bytes()
		if ended {
			v.bad(0, "there is something after the end")
			break
		}
		var end packageEnd
		if json.Unmarshal(line, &end) == nil && bytes.HasPrefix(line, []byte(`{"note":`)) {
			note, ended = end.Note, true
			continue
		}
		text, err := restore(line, true)
		var r schemas.Record
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		sequence := v.report.LastSequence + 1
		switch {
		case err != nil:
			v.bad(sequence, "it cannot be read: %v", err)
		case r.Sequence != sequence:
			v.bad(sequence, "record %d is in its place", r.Sequence)
		case r.Previous != previous:
			v.bad(sequence, "it does not follow the record before it")
		}
		if r.Type == schemas.RecordKey && r.Key != nil {
			keys = append(keys, r)
		}
		previous = hashOf(line)
		v.report.Records, v.report.LastSequence, v.report.Head = sequence, sequence, previous
	}
	if err := lines.Err(); err != nil {
		return v.report, fmt.Errorf("read the package: %w", err)
	}
	v.signature(key, keys, note)
	return v.report, nil
}

// VerifySignature adds to a report whether the head is signed by the key, or by one that it let sign.
func (l *Ledger) VerifySignature(ctx context.Context, key *seal.Public, report *schemas.AuditVerification) error {
	note, err := l.Note(ctx)
	if err != nil {
		return err
	}
	keys, err := l.keys(ctx)
	if err != nil {
		return err
	}
	v := verifier{report: *report}
	v.signature(key, keys, note)
	*report = v.report
	return nil
}

// signature proves the end of a chain.
func (v *verifier) signature(key *seal.Public, keys []schemas.Record, note string) {
	if note == "" {
		v.bad(0, "it is not signed")
		return
	}
	signs := key
	_, err := openHead(key, note, v.report.LastSequence, v.report.Head)
	if err != nil {
		// An earlier key: those after it are found from where it is named.
		var next *seal.Public
		for i, r := range keys {
			if key.Is(r.Key.Former) || i == 0 && key.Is(r.Key.PublicKey) {
				var ferr error
				if next, ferr = followKeys(key.String(), keys[i:]); ferr == nil {
					_, err = openHead(next, note, v.report.LastSequence, v.report.Head)
					signs = next
				}
				break
			}
		}
	}
	var alarm *AlarmError
	switch {
	case errors.As(err, &alarm):
		v.bad(0, "%s", alarm.What)
	case err != nil:
		v.bad(0, "%v", err)
	default:
		v.report.Trust = schemas.LedgerTrust{Signed: true, PublicKey: signs.String(), Witnesses: []schemas.LedgerWitness{}}
	}
}
