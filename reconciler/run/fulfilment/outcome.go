package fulfilment

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
)

// OutcomeOf is an outcome about an asking.
func OutcomeOf(f *ledger.Fulfilment, status schemas.OutcomeStatus, method schemas.FulfilmentMethod, now time.Time) schemas.OutcomeRecord {
	rec := f.FulfilmentRecord
	rec.Method, rec.By, rec.Authenticated, rec.Independent, rec.Message = method, "", false, nil, ""
	return schemas.OutcomeRecord{Operation: f.Operation, Status: status, Started: f.Since, Finished: now, Fulfilment: &rec}
}

// LastDocument is the latest document that an operation follows from; zero for none.
func LastDocument(o *schemas.Operation) schemas.DocumentID {
	if n := len(o.Documents); n > 0 {
		return o.Documents[n-1]
	}
	return schemas.DocumentID{}
}

// SubmissionOf names an asking. It is the same for the same wish, also when the ledger was lost.
func SubmissionOf(o *schemas.Operation, token string, round int) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{o.Application, o.ID, token, strconv.Itoa(round)}, "\x1f")))
	return "ful_" + hex.EncodeToString(sum[:12])
}

// CodeDeclined is the code of a failure that somebody outside reported.
const CodeDeclined = "declined"
