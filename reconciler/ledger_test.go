package reconciler_test

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/schemas"
)

func newKey(t testing.TB) *seal.Key {
	t.Helper()
	private, _, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := seal.ParseKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func keyed(k *seal.Key) string { return settings("ledger: {public_key: " + k.Public().String() + "}") }

// signedWorld is a settled world whose ledger is signed: dave was let in and out again, and erin's request was refused.
func signedWorld(t *testing.T) *world {
	t.Helper()
	key := newKey(t)
	w := newWorld(t, files{"countersign.yaml": keyed(key),
		"requests/base.yaml": creation("authz", "sales_reader") + "---\n" + assignment("authz", "sales_reader", grants(read("sales.orders")))})
	w.key = key
	w.run()
	w.land(files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(user("dave")))}, historytest.Bob())
	w.run()
	w.push(files{"requests/erin.yaml": assignment("authz", "sales_reader", grants(user("erin")))})
	w.run()
	w.land(files{"requests/out.yaml": assignment("authz", "sales_reader", revokes(user("dave")))}, historytest.Bob())
	w.run()
	w.wantHolds("authz", quiet()...)
	return w
}

func (w *world) db() string { return reconciler.LedgerPath(w.state) }

// sql changes the ledger's file by hand.
func (w *world) sql(statements ...string) {
	w.t.Helper()
	db, err := sql.Open("sqlite", w.db())
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			w.t.Error(err)
		}
	}()
	for _, name := range []string{"records_no_update", "records_no_delete", "records_no_gap", "head_grows", "head_stays"} {
		statements = append([]string{"DROP TRIGGER IF EXISTS " + name}, statements...)
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			w.t.Fatalf("%s: %v", s, err)
		}
	}
}

func (w *world) value(query string) (out string) {
	w.t.Helper()
	db, err := sql.Open("sqlite", w.db())
	if err == nil {
		err = db.QueryRow(query).Scan(&out)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		w.t.Error(err)
	}
	return out
}

// alarmed wants every command to refuse the ledger, and nothing to change.
func (w *world) alarmed(want string) {
	w.t.Helper()
	before := w.content("authz")
	for what, do := range map[string]func(*reconciler.Reconciler) error{
		"apply": func(r *reconciler.Reconciler) error {
			_, err := r.RunOnce(w.t.Context(), reconciler.RunOptions{To: "main"})
			return err
		},
		"enforce": func(r *reconciler.Reconciler) error {
			_, err := r.RunOnce(w.t.Context(), reconciler.RunOptions{To: "main", Drift: true, Enforce: true})
			return err
		},
		"preview": func(r *reconciler.Reconciler) error {
			_, err := r.Preview(w.t.Context(), reconciler.PreviewOptions{Base: "main", Head: "main"})
			return err
		},
		"status": func(r *reconciler.Reconciler) error { _, err := r.Status(w.t.Context(), "main", ""); return err },
	} {
		err := do(w.open())
		if !ledger.IsAlarm(err) || !regexp.MustCompile(want).MatchString(err.Error()) {
			w.t.Errorf("%s: %v, want an alarm about %q", what, err, want)
		}
	}
	if after := w.content("authz"); after != before {
		w.t.Errorf("the application was changed:\n%s", after)
	}
}

func TestLedgerAlarms(t *testing.T) {
	t.Parallel()
	last := `(SELECT max(sequence) FROM records)`
	for name, tc := range map[string]struct {
		do   func(t *testing.T, w *world)
		want string
	}{
		"a verdict turned": {func(_ *testing.T, w *world) {
			w.sql(`UPDATE records SET body = replace(body, '"verdict":"quarantined"', '"verdict":"admitted"')`)
		}, "was changed"},
		"a name beside its commitment": {func(_ *testing.T, w *world) {
			w.sql(`UPDATE records SET body = replace(body, 'bob@acme.test', 'eve@acme.test')`)
		}, "a text that names a person"},
		"a name replaced by a pseudonym": {func(t *testing.T, w *world) {
			line := w.value(`SELECT body FROM records WHERE type = 'admission' AND body LIKE '%bob@acme.test%' LIMIT 1`)
			other, err := ledger.Pseudonymous(line, func(string) string { return "eve@acme.test" })
			if err != nil {
				t.Fatal(err)
			}
			w.sql(`UPDATE records SET body = '` + other + `' WHERE body = '` + line + `'`)
		}, "a text that names a person"},
		"a name left out": {func(t *testing.T, w *world) {
			line := w.value(`SELECT body FROM records WHERE type = 'admission' AND body LIKE '%bob@acme.test%' LIMIT 1`)
			w.sql(`UPDATE records SET body = '` + regexp.MustCompile(`"personal":\{.*?\}\},`).ReplaceAllString(line, "") + `' WHERE body = '` + line + `'`)
		}, "a text that names a person"},
		"a record removed": {func(_ *testing.T, w *world) { w.sql(`DELETE FROM records WHERE sequence = 5`) }, "missing"},
		"records exchanged": {func(_ *testing.T, w *world) {
			w.sql(`UPDATE records SET sequence = 999 WHERE sequence = 5`, `UPDATE records SET sequence = 5 WHERE sequence = 6`, `UPDATE records SET sequence = 6 WHERE sequence = 999`)
		}, "moved"},
		"a record twice": {func(_ *testing.T, w *world) {
			w.sql(`INSERT INTO records SELECT sequence + 1, type, application, run, time, hash, body FROM records WHERE sequence = ` + last)
		}, "moved"},
		"the end cut off":    {func(_ *testing.T, w *world) { w.sql(`DELETE FROM records WHERE sequence = ` + last) }, "cut off"},
		"a derived table":    {func(_ *testing.T, w *world) { w.sql(`UPDATE admissions SET sequence = 2`) }, "does not follow"},
		"not a database":     {func(t *testing.T, w *world) { overwrite(t, w.db(), "hello") }, "."},
		"the signature gone": {func(_ *testing.T, w *world) { w.sql(`DELETE FROM signature`) }, "isn't signed"},
		"by another key": {func(t *testing.T, w *world) {
			h := w.head(t)
			note, err := newKey(t).Sign(h)
			if err != nil {
				t.Fatal(err)
			}
			w.sql(`UPDATE signature SET note = '` + note + `'`)
		}, "isn't signed by the key"},
		"of another repository": {func(t *testing.T, w *world) {
			h := w.head(t)
			h.Origin = strings.Repeat("b", 40)
			note, err := w.key.Sign(h)
			if err != nil {
				t.Fatal(err)
			}
			w.sql(`UPDATE signature SET note = '` + note + `'`)
		}, "of a repository where trust starts at bbbbbbbb"},
		"put on by hand": {func(_ *testing.T, w *world) { w.putOn() }, "the head that is signed is record"},
		"missing":        {func(t *testing.T, w *world) { remove(t, w.state) }, "it is missing"},
		"emptied":        {func(t *testing.T, w *world) { overwrite(t, w.db(), "") }, "it is missing"},
		"begun elsewhere with the same key": {func(t *testing.T, w *world) {
			o := newWorld(t, files{"countersign.yaml": keyed(w.key)})
			o.key = w.key
			for range 40 {
				o.push(files{fmt.Sprintf("requests/%d.yaml", o.landed): "x"})
				o.landed++
			}
			o.run()
			remove(t, w.state)
			if err := os.CopyFS(w.state, os.DirFS(o.state)); err != nil {
				t.Fatal(err)
			}
			overwrite(t, filepath.Join(w.state, "index.db"), "")
		}, "of a repository where trust starts|older than what was recorded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := signedWorld(t)
			tc.do(t, w)
			w.alarmed(tc.want)
		})
	}
}

func (w *world) head(t *testing.T) seal.Head {
	t.Helper()
	h, err := seal.ParseHead(w.value(`SELECT note FROM signature`))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// putOn appends an admission of what was refused, with a chain that is right.
func (w *world) putOn() {
	w.t.Helper()
	note := w.value(`SELECT note FROM signature`)
	w.sql(`DELETE FROM signature`)
	l, err := ledger.Open(w.t.Context(), ledger.Config{Path: w.db()})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := l.Append(w.t.Context(), schemas.Record{Type: schemas.RecordFinding, Finding: &schemas.Finding{Code: "x", Severity: "info", Message: "by hand"}}); err != nil {
		w.t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.sql(`INSERT INTO signature VALUES (1, '` + note + `')`)
}

func overwrite(t *testing.T, path, content string) {
	t.Helper()
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.RemoveAll(path + suffix); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

// TestLedgerPutBack puts a backup back that is right in itself, signature and all.
func TestLedgerPutBack(t *testing.T) {
	t.Parallel()
	for _, signed := range []bool{true, false} {
		t.Run(fmt.Sprint("signed ", signed), func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			if signed {
				key := newKey(t)
				w = newWorld(t, files{"countersign.yaml": keyed(key), "requests/base.yaml": creation("authz", "sales_reader")})
				w.key = key
				w.run()
			}
			w.land(files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(user("dave")))}, historytest.Bob())
			w.run()
			backup := t.TempDir()
			if err := os.CopyFS(backup, os.DirFS(w.state)); err != nil {
				t.Fatal(err)
			}
			w.land(files{"requests/out.yaml": assignment("authz", "sales_reader", revokes(user("dave")))}, historytest.Bob())
			w.run()
			remove(t, w.state)
			if err := os.CopyFS(w.state, os.DirFS(backup)); err != nil {
				t.Fatal(err)
			}
			w.alarmed("older than what was recorded")
		})
	}
}

// TestWitnessBehind has a run that died before it told the witness: the next one goes on, and tells it.
func TestWitnessBehind(t *testing.T) {
	t.Parallel()
	w := signedWorld(t)
	w.land(files{"requests/erin2.yaml": assignment("authz", "sales_reader", grants(user("erin")))}, historytest.Bob())
	before := w.Git("rev-parse", reconciler.WitnessReference)
	w.run()
	after := w.Git("rev-parse", reconciler.WitnessReference)
	if before == after {
		t.Fatal("the witness wasn't told")
	}
	w.Git("update-ref", reconciler.WitnessReference, before)
	w.land(files{"requests/gina.yaml": assignment("authz", "sales_reader", grants(user("gina")))}, historytest.Bob())
	w.run()
	if is := w.Git("rev-parse", reconciler.WitnessReference); is == before || is == after {
		t.Errorf("the witness is at %s after the next run", is)
	}
	// Something else at the reference is an alarm.
	if err := os.WriteFile(filepath.Join(w.state, "junk"), []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Git("update-ref", reconciler.WitnessReference, w.Git("hash-object", "-w", filepath.Join(w.state, "junk")))
	w.alarmed("didn't leave there")
}

// TestLedgerReaders have no private key: they take the public one from the anchor and the rotations since.
func TestLedgerReaders(t *testing.T) {
	t.Parallel()
	w := signedWorld(t)
	old, next := w.key, newKey(t)
	w.key = nil
	if _, err := w.open().Status(t.Context(), "main", ""); err != nil {
		t.Errorf("status without a key: %v", err)
	}
	if _, err := w.try(reconciler.RunOptions{}); err == nil || !strings.Contains(err.Error(), "COUNTERSIGN_LEDGER_KEY") {
		t.Errorf("apply without a key: %v", err)
	}
	w.public = next.Public()
	if _, err := w.open().Status(t.Context(), "main", ""); !ledger.IsAlarm(err) {
		t.Errorf("status with another public key: %v", err)
	}
	w.public = nil

	// The settings name another key: nothing goes on until the old one signs that.
	w.key = old
	w.land(files{"countersign.yaml": keyed(next)}, historytest.Carol())
	if _, err := w.try(reconciler.RunOptions{}); !ledger.IsAlarm(err) || !strings.Contains(err.Error(), "rotate-key") {
		t.Errorf("apply with the old key: %v", err)
	}
	w.key = next
	w.alarmed("isn't signed by the key")
	if err := w.open().RotateKey(t.Context(), old, "main"); err == nil {
		t.Error("the new key lets itself sign")
	}
	w.key = old
	if err := w.open().RotateKey(t.Context(), newKey(t), "main"); err == nil || !strings.Contains(err.Error(), "don't name the new key") {
		t.Errorf("a rotation to a key that the settings don't name: %v", err)
	}
	if err := w.open().RotateKey(t.Context(), next, "main"); err != nil {
		t.Fatal(err)
	}
	w.alarmed("isn't signed by the key") // by the old key any more
	w.key = next
	w.run()
	w.key = nil
	if _, err := w.open().Status(t.Context(), "main", ""); err != nil {
		t.Errorf("status after the rotation: %v", err)
	}
	// A rotation that nobody signed. The new head is signed well.
	mallory := newKey(t)
	w.key = mallory
	w.forge(next, mallory)
	w.key = nil
	if _, err := w.open().Status(t.Context(), "main", ""); !ledger.IsAlarm(err) || !strings.Contains(err.Error(), "changes the key") {
		t.Errorf("a rotation by hand: %v", err)
	}
}

// forge appends a rotation that the former key didn't sign.
func (w *world) forge(former, next *seal.Key) {
	w.t.Helper()
	h := w.head(w.t.(*testing.T))
	w.sql(`DELETE FROM signature`)
	l, err := ledger.Open(w.t.Context(), ledger.Config{Path: w.db()})
	if err != nil {
		w.t.Fatal(err)
	}
	statement, err := next.SignRotation(h, next.Public())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := l.Append(w.t.Context(), schemas.Record{Type: schemas.RecordKey, Key: &schemas.KeyRecord{PublicKey: next.Public().String(), Former: former.Public().String(), Statement: statement}}); err != nil {
		w.t.Fatal(err)
	}
	sequence, hash, err := l.Head(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		w.t.Fatal(err)
	}
	note, err := next.Sign(seal.Head{Origin: h.Origin, Sequence: sequence, Hash: hash})
	if err != nil {
		w.t.Fatal(err)
	}
	w.sql(`INSERT INTO signature VALUES (1, '` + note + `')`)
}

// TestTakeOver signs a ledger that began without a key.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	key := newKey(t)
	w.key = key
	if _, err := w.try(reconciler.RunOptions{}); err == nil || !strings.Contains(err.Error(), "the settings name none") {
		t.Errorf("a key that the settings don't name: %v", err)
	}
	w.land(files{"countersign.yaml": keyed(key)}, historytest.Carol())
	w.alarmed("isn't signed, and the settings name a key")
	if _, err := w.open().TakeOver(t.Context(), "main"); err == nil || !strings.Contains(err.Error(), "unsigned_ledger") {
		t.Errorf("without an owner's document: %v", err)
	}
	sequence, hash := w.value(`SELECT sequence FROM head`), w.value(`SELECT hash FROM head`)
	ack := func(head string) string {
		return acknowledgement(fmt.Sprintf("unsigned_ledger: {public_key: %s, records: %s, head: %q}", key.Public(), sequence, head))
	}
	// Not by an owner of the settings.
	w.land(files{"requests/ack.yaml": ack(hash)}, historytest.Bob())
	if _, err := w.open().TakeOver(t.Context(), "main"); err == nil {
		t.Error("with a document that no owner of the settings signed off")
	}
	w.land(files{"requests/wrong.yaml": ack(strings.Repeat("0", 64))}, historytest.Carol())
	if _, err := w.open().TakeOver(t.Context(), "main"); err == nil || !strings.Contains(err.Error(), "isn't the one that") {
		t.Errorf("with another head: %v", err)
	}
	w.land(files{"requests/wrong.yaml": "", "requests/right.yaml": ack(hash)}, historytest.Carol())
	if _, err := w.open().TakeOver(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	w.run()
	if _, err := w.open().TakeOver(t.Context(), "main"); err == nil {
		t.Error("it is taken over twice")
	}
	w.key = nil
	if _, err := w.open().Status(t.Context(), "main", ""); err != nil {
		t.Errorf("status without a key: %v", err)
	}
	w.key = key
	w.sql(`DELETE FROM signature`)
	w.alarmed("isn't signed")
}

// TestRestart loses a ledger, and with it who approved what. dave is in by hand since, erin's grant isn't there.
func TestRestart(t *testing.T) {
	t.Parallel()
	w := signedWorld(t)
	w.land(files{"requests/gina.yaml": assignment("authz", "sales_reader", grants(user("gina")))}, historytest.Bob())
	w.run()
	remove(t, w.state)
	w.alarmed("it is missing")
	restart, err := w.open().Restart(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	if restart.LastSequence == 0 || restart.Head == "" {
		t.Errorf("the record doesn't tell of the lost ledger: %+v", restart)
	}
	if _, err := w.open().Restart(t.Context(), "main"); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("a restart of a ledger that is there: %v", err)
	}
	w.tamper("authz", "g, dave, sales_reader")                                                  // was revoked
	w.overwrite("authz", strings.Replace(w.content("authz"), "g, gina, sales_reader\n", "", 1)) // was granted
	held := func() string {
		t.Helper()
		o := outcome(t, w.run(), "authz")
		wantPlan(t, o.Plan.Operations, "grant sales_reader gina member (request) held: rejudged", "revoke sales_reader dave member (request) held: rejudged")
		m := regexp.MustCompile(`rejudged: (\{.*\})`).FindStringSubmatch(o.Plan.Operations[0].HoldReason)
		if m == nil || !strings.Contains(m[1], restart.Commit) {
			t.Fatalf("the reason names no way out: %s", o.Plan.Operations[0].HoldReason)
		}
		return m[1]
	}
	was := held()
	w.wantHolds("authz", append(quiet(), "sales_reader: dave")...)
	// What was approved since goes ahead.
	w.land(files{"requests/alice.yaml": assignment("authz", "sales_reader", grants(user("alice")))}, historytest.Bob())
	w.run()
	if got := held(); got != was {
		t.Errorf("the digest was %s and is %s", was, got)
	}
	w.wantHolds("authz", append(quiet(), "sales_reader: alice", "sales_reader: dave")...)
	// A document of nobody who may, and one of another digest, release nothing.
	w.land(files{"requests/bob.yaml": acknowledgement("rejudged: " + was)}, historytest.Bob())
	w.land(files{"requests/other.yaml": acknowledgement("rejudged: " + regexp.MustCompile(`digest: ....`).ReplaceAllString(was, `digest: "000`))}, historytest.Carol())
	held()
	w.land(files{"requests/ack.yaml": acknowledgement("rejudged: " + was)}, historytest.Carol())
	w.run()
	w.wantHolds("authz", append(quiet(), "sales_reader: alice", "sales_reader: gina")...)
	// It counts once: another loss needs another one.
	remove(t, w.state)
	if _, err := w.open().Restart(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	w.tamper("authz", "g, dave, sales_reader")
	o := outcome(t, w.run(), "authz")
	wantPlan(t, o.Plan.Operations, "revoke sales_reader dave member (request) held: rejudged")
}
