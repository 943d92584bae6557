package aws

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
)

// maxAnswerBytes bounds one answer.
const maxAnswerBytes = 64 << 20

// transport sends requests, and checks each answer before the SDK does: the SDK takes an empty body for an empty
// account, and stops reading when it has its data.
type transport struct {
	client  *http.Client
	maxWait time.Duration
	calls   int
	// after is the earliest time of the next request. AWS limits the account, so it applies to any request.
	after time.Time
}

// Do sends one request and reads its answer to the end.
func (t *transport) Do(req *http.Request) (*http.Response, error) {
	if left := time.Until(t.after); left > t.maxWait {
		return nil, &limitError{left}
	} else if left > 0 {
		if err := wait(req.Context(), left); err != nil {
			return nil, err
		}
	}
	t.calls++
	action, err := actionOf(req)
	if err != nil {
		return nil, err
	}
	res, err := t.client.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes+1))
	if cerr := res.Body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, &answerError{"the answer was truncated", err}
	}
	if res.StatusCode != http.StatusOK {
		t.after = time.Now().Add(pause(res.Header))
	}
	if len(body) > maxAnswerBytes {
		return nil, &answerError{"the answer is too large", nil}
	}
	if res.StatusCode == http.StatusOK && action != "" && !complete(body, action) {
		return nil, &answerError{"the answer isn't from AWS, or is incomplete", nil}
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// actionOf returns the action of a request in AWS's query protocol; "" for others (the instance's metadata).
func actionOf(req *http.Request) (string, error) {
	if req.Method != http.MethodPost || req.Body == nil {
		return "", nil
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return "", err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", err
	}
	return form.Get("Action"), nil
}

// complete reports whether an answer is one XML document with the element that belongs to the action.
func complete(body []byte, action string) bool {
	dec := xml.NewDecoder(bytes.NewReader(body))
	root := ""
	for {
		token, err := dec.RawToken()
		if err != nil {
			break
		}
		if start, ok := token.(xml.StartElement); ok {
			root = start.Name.Local
			break
		}
	}
	return root == action+"Response" && bytes.HasSuffix(bytes.TrimSpace(body), []byte("</"+action+"Response>"))
}

// answerError is an answer that can't be trusted. A retry may help.
type answerError struct {
	message string
	err     error
}

func (e *answerError) Error() string { return e.message }
func (e *answerError) Unwrap() error { return e.err }

// RetryableError tells the SDK to retry.
func (e *answerError) RetryableError() bool { return true }

// limitError is a request that wasn't sent, because AWS has named a later time.
type limitError struct{ left time.Duration }

func (e *limitError) Error() string { return "AWS asks for fewer requests for a while" }

// attempts bounds the number of times that a request is sent.
const attempts = 4

// patience is the SDK's standard retryer, with the waits that the application asks for.
type patience struct {
	*retry.Standard
	maxWait time.Duration
}

func newPatience(maxWait time.Duration) *patience {
	return &patience{maxWait: maxWait, Standard: retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.MaxBackoff = maxWait
		// A run has too few writes to IAM for a budget of retries to help.
		o.RateLimiter = unlimited{}
		o.Retryables = append(o.Retryables, retry.RetryableErrorCode{Codes: map[string]struct{}{
			"ConcurrentModification": {}, "EntityTemporarilyUnmodifiable": {}, "ServiceFailure": {}, "InternalFailure": {}, "ServiceUnavailable": {},
		}})
	})}
}

// IsErrorRetryable returns false if the application asks for a longer wait than ours.
func (p *patience) IsErrorRetryable(err error) bool {
	return retryAfter(err) <= p.maxWait && p.Standard.IsErrorRetryable(err)
}

// RetryDelay returns the application's wait, or one that grows with each attempt.
func (p *patience) RetryDelay(attempt int, err error) (time.Duration, error) {
	if wait := retryAfter(err); wait > 0 {
		return wait, nil
	}
	return p.Standard.RetryDelay(attempt, err)
}

// sure retries only throttled requests, which certainly weren't carried out. It is for the one change that isn't
// idempotent.
type sure struct{ *patience }

func (s sure) IsErrorRetryable(err error) bool {
	return retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err) == sdk.TrueTernary && s.patience.IsErrorRetryable(err)
}

type unlimited struct{}

func (unlimited) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}
func (unlimited) AddTokens(uint) error { return nil }

// retryAfter returns the wait that an error asks for, or 0.
func retryAfter(err error) time.Duration {
	var limit *limitError
	if errors.As(err, &limit) {
		return limit.left
	}
	var res *smithyhttp.ResponseError
	if !errors.As(err, &res) || res.Response == nil {
		return 0
	}
	return pause(res.Response.Header)
}

// pause returns the wait of the header Retry-After, or 0.
func pause(h http.Header) time.Duration {
	if wait, ok := rest.RetryAfter(h, time.Now()); ok {
		return wait
	}
	return 0
}

// codeOf returns the error code in an answer of AWS, or "".
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

const (
	noSuchEntity    = "NoSuchEntity"
	alreadyExists   = "EntityAlreadyExists"
	deleteConflict  = "DeleteConflict"
	limitExceeded   = "LimitExceeded"
	malformedPolicy = "MalformedPolicyDocument"
)

// fault converts an error of the SDK to a typed one.
func (r *reader) fault(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	var typed *connectors.Error
	if errors.As(err, &typed) {
		return err
	}
	if ctx.Err() != nil {
		return connectors.Stopped(ctx, op)
	}
	e := &connectors.Error{Op: op, Err: err, RetryAfter: retryAfter(err)}
	var api smithy.APIError
	said := ""
	if errors.As(err, &api) {
		said = r.quote(api.ErrorMessage())
	}
	code := codeOf(err)
	if code == "UnknownError" { // the SDK's value for "none"
		code = ""
	}
	status := 0
	var res *smithyhttp.ResponseError
	if errors.As(err, &res) {
		status = res.HTTPStatusCode()
	}
	is := func(c connectors.Code, message string) { e.Code, e.Message = c, message }
	switch code {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation":
		is(connectors.Denied, "the credential lacks the right"+said)
	case "InvalidClientTokenId", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken", "UnrecognizedClientException", "AuthFailure", "OptInRequired":
		is(connectors.Denied, "AWS doesn't know the credential: check that the keys are right, active, and of this partition")
	case "ExpiredToken", "ExpiredTokenException", "InvalidIdentityToken", "IDPRejectedClaim":
		is(connectors.Denied, "the credential has expired, or the role doesn't trust the token: sign in again")
	case "RequestExpired":
		is(connectors.Denied, "AWS considers the request expired: set this machine's clock")
	case noSuchEntity:
		is(connectors.NotFound, "not found"+said)
	case alreadyExists:
		is(connectors.Conflict, "already exists"+said)
		e.Dependents = []string{"what has the name"}
	case deleteConflict:
		is(connectors.Conflict, "something is still attached to it"+said)
		e.Dependents = []string{"what is attached to it"}
	case "ConcurrentModification":
		is(connectors.Conflict, "somebody else is changing it: retry")
	case "EntityTemporarilyUnmodifiable":
		is(connectors.Unavailable, "IAM is still processing an earlier change of it: retry")
		e.RetryAfter = max(e.RetryAfter, 10*time.Second)
	case limitExceeded:
		is(connectors.Invalid, "quota of the account reached"+said+": raise it at Service Quotas, or remove something")
	case malformedPolicy:
		is(connectors.Invalid, "IAM rejects the policy document"+said)
	case "UnmodifiableEntity":
		is(connectors.Denied, "only the service that owns it may change it"+said)
	case "InvalidInput", "ValidationError", "PolicyNotAttachable", "InvalidParameterValue", "MissingParameter", "MalformedInput":
		is(connectors.Invalid, "IAM rejects the value"+said)
	case "InvalidAction", "UnsupportedOperation":
		is(connectors.Unsupported, "the server at this address doesn't know the action")
	default:
		var limit *limitError
		switch throttled := errors.As(err, &limit) || retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err) == sdk.TrueTernary; {
		case throttled || status == http.StatusTooManyRequests:
			is(connectors.Unavailable, "rate-limited by AWS: retry later")
			e.Whole, e.RetryAfter = true, max(e.RetryAfter, 5*time.Second)
		case status >= 500:
			is(connectors.Unavailable, fmt.Sprintf("AWS answers with status %d: retry later", status))
		case status == http.StatusUnauthorized || status == http.StatusForbidden:
			is(connectors.Denied, "AWS rejects the credential")
		case code != "" && status >= 400:
			is(connectors.Invalid, "AWS rejects the request"+said)
		case status > 0:
			is(connectors.Unavailable, fmt.Sprintf("the server that answers with status %d isn't AWS: check config.endpoint", status))
		default:
			is(connectors.Unavailable, "AWS can't be reached, or its answer can't be read"+cause(err))
			e.Whole = true
		}
	}
	return e
}

// cause describes a network fault without parts of the configuration.
func cause(err error) string {
	var answer *answerError
	if errors.As(err, &answer) {
		return ": " + answer.message
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return ": timed out"
	}
	return ""
}

const maxSaidBytes = 300

// quote repeats AWS's message, cut, on one line, and without secrets.
func (r *reader) quote(message string) string {
	for _, s := range r.secrets {
		if v := s.Reveal(); v != "" {
			message = strings.ReplaceAll(message, v, s.String())
		}
	}
	message = strings.TrimRight(strings.ToValidUTF8(strings.Join(strings.Fields(message), " "), "?"), ".")
	if len(message) > maxSaidBytes {
		message = strings.ToValidUTF8(message[:maxSaidBytes], "") + "…"
	}
	if message == "" {
		return ""
	}
	return ": " + message
}
