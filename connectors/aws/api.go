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

// transport carries requests, and looks at each answer before the SDK does: the SDK takes an empty body for an
// empty account, and stops reading where it has what it wants.
type transport struct {
	client  *http.Client
	maxWait time.Duration
	calls   int
	// after is when AWS wants to be asked again. A limit is on the whole account: it holds for the next request,
	// whatever that asks.
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
		return nil, &answerError{"the answer broke off", err}
	}
	if res.StatusCode != http.StatusOK {
		t.after = time.Now().Add(pause(res.Header))
	}
	if len(body) > maxAnswerBytes {
		return nil, &answerError{"the answer is too long", nil}
	}
	if res.StatusCode == http.StatusOK && action != "" && !whole(body, action) {
		return nil, &answerError{"the answer is none of AWS, or a part of one", nil}
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// actionOf is the action of a request in AWS's query protocol; "" for others (the instance's metadata).
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

// whole says whether an answer is one XML document with the element that belongs to the action.
func whole(body []byte, action string) bool {
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

// answerError is an answer that cannot be trusted. Asking again may help.
type answerError struct {
	message string
	err     error
}

func (e *answerError) Error() string { return e.message }
func (e *answerError) Unwrap() error { return e.err }

// RetryableError tells the SDK to try again.
func (e *answerError) RetryableError() bool { return true }

// limitError is a request that was not sent, because AWS has said when to come back.
type limitError struct{ left time.Duration }

func (e *limitError) Error() string { return "AWS wants to be left alone for a while" }

// attempts is how often a request is sent at most.
const attempts = 4

// patience is how the SDK tries again: its standard mode, with the waits that the application asks for.
type patience struct {
	*retry.Standard
	maxWait time.Duration
}

func newPatience(maxWait time.Duration) *patience {
	return &patience{maxWait: maxWait, Standard: retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.MaxBackoff = maxWait
		// IAM has too few writes in a run for a budget of retries to be a protection.
		o.RateLimiter = unlimited{}
		o.Retryables = append(o.Retryables, retry.RetryableErrorCode{Codes: map[string]struct{}{
			"ConcurrentModification": {}, "EntityTemporarilyUnmodifiable": {}, "ServiceFailure": {}, "InternalFailure": {}, "ServiceUnavailable": {},
		}})
	})}
}

// IsErrorRetryable leaves alone what the application wants to be left alone for longer than we wait.
func (p *patience) IsErrorRetryable(err error) bool {
	return retryAfter(err) <= p.maxWait && p.Standard.IsErrorRetryable(err)
}

// RetryDelay is what the application says, or more with each attempt.
func (p *patience) RetryDelay(attempt int, err error) (time.Duration, error) {
	if wait := retryAfter(err); wait > 0 {
		return wait, nil
	}
	return p.Standard.RetryDelay(attempt, err)
}

// sure tries again only what was certainly not done: what was throttled. It is for the one change that is another
// change when it is made twice.
type sure struct{ *patience }

func (s sure) IsErrorRetryable(err error) bool {
	return retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err) == sdk.TrueTernary && s.patience.IsErrorRetryable(err)
}

type unlimited struct{}

func (unlimited) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}
func (unlimited) AddTokens(uint) error { return nil }

// retryAfter is how long an error says to wait; 0 when it does not.
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

// pause is how long the header Retry-After asks to wait; 0 without one.
func pause(h http.Header) time.Duration {
	if wait, ok := rest.RetryAfter(h, time.Now()); ok {
		return wait
	}
	return 0
}

// codeOf is the code of an answer of AWS; "" when there is none.
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

// fault makes a typed error of what the SDK returns.
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
	if code == "UnknownError" { // the SDK's word for none
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
		is(connectors.Denied, "the credential may not do this"+said)
	case "InvalidClientTokenId", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken", "UnrecognizedClientException", "AuthFailure", "OptInRequired":
		is(connectors.Denied, "AWS does not know the credential: see whether the keys are right, active, and of this partition")
	case "ExpiredToken", "ExpiredTokenException", "InvalidIdentityToken", "IDPRejectedClaim":
		is(connectors.Denied, "the credential has expired, or the role does not trust the token: sign in anew")
	case "RequestExpired":
		is(connectors.Denied, "AWS takes the request for an old one: set this machine's clock")
	case noSuchEntity:
		is(connectors.NotFound, "it is not there"+said)
	case alreadyExists:
		is(connectors.Conflict, "it is there already"+said)
	case deleteConflict:
		is(connectors.Conflict, "something is still attached to it"+said)
	case "ConcurrentModification":
		is(connectors.Conflict, "somebody else is changing it: try again")
	case "EntityTemporarilyUnmodifiable":
		is(connectors.Unavailable, "IAM is still at work on an earlier change of it: try again")
		e.RetryAfter = max(e.RetryAfter, 10*time.Second)
	case limitExceeded:
		is(connectors.Invalid, "a quota of the account is reached"+said+": raise it at Service Quotas, or remove something")
	case malformedPolicy:
		is(connectors.Invalid, "IAM refuses the policy document"+said)
	case "UnmodifiableEntity":
		is(connectors.Denied, "only the service that it belongs to may change it"+said)
	case "InvalidInput", "ValidationError", "PolicyNotAttachable", "InvalidParameterValue", "MissingParameter", "MalformedInput":
		is(connectors.Invalid, "IAM refuses the value"+said)
	case "InvalidAction", "UnsupportedOperation":
		is(connectors.Unsupported, "what answers at this address does not know the action")
	default:
		var limit *limitError
		switch throttled := errors.As(err, &limit) || retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err) == sdk.TrueTernary; {
		case throttled || status == http.StatusTooManyRequests:
			is(connectors.Unavailable, "AWS wants fewer requests: try again later")
			e.Whole, e.RetryAfter = true, max(e.RetryAfter, 5*time.Second)
		case status >= 500:
			is(connectors.Unavailable, fmt.Sprintf("AWS answers with status %d: try again later", status))
		case status == http.StatusUnauthorized || status == http.StatusForbidden:
			is(connectors.Denied, "the credential is refused")
		case code != "" && status >= 400:
			is(connectors.Invalid, "AWS refuses the request"+said)
		case status > 0:
			is(connectors.Unavailable, fmt.Sprintf("what answers with status %d is not AWS: see config.endpoint", status))
		default:
			is(connectors.Unavailable, "AWS cannot be reached, or its answer cannot be read"+cause(err))
			e.Whole = true
		}
	}
	return e
}

// cause is the plain part of a fault of the network: nothing of it comes from the configuration.
func cause(err error) string {
	var answer *answerError
	if errors.As(err, &answer) {
		return ": " + answer.message
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return ": it took too long"
	}
	return ""
}

const maxSaidBytes = 300

// quote repeats what AWS said, cut, on one line, and without any secret.
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
