package scim

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
)

// client fetches tokens that live a short time, and keeps each until shortly before its end.
type client struct {
	tokenURL, id, grant, account, scope string
	secret                              connectors.Secret

	http    *rest.Client
	path    string
	now     func() time.Time
	token   connectors.Secret
	expires time.Time
}

// early is how long before its end a token is no longer used: a request takes its time, and clocks differ.
const early = time.Minute

func (c *client) open(s settings) error {
	i := strings.LastIndexByte(c.tokenURL, '/') // rest.Client wants a path below an address
	if i < 0 {
		return invalid("config.oauth.token_url must be https://HOST/PATH")
	}
	c.now, c.path = s.now, c.tokenURL[i+1:]
	var err error
	c.http, err = rest.New(rest.Config{URL: c.tokenURL[:i], Secrets: []connectors.Secret{c.secret}, ContentType: "application/x-www-form-urlencoded",
		Authorize: func(r *http.Request) error {
			r.SetBasicAuth(url.QueryEscape(c.id), url.QueryEscape(c.secret.Reveal())) // RFC 6749, 2.3.1
			return nil
		}, Timeout: s.timeout, Retries: orNever(s.retries), Transport: s.transport, Now: s.now})
	return err
}

// fetch returns a token that is good for some time yet.
func (c *client) fetch(ctx context.Context) (string, error) {
	if t := c.token.Reveal(); t != "" && c.now().Before(c.expires) {
		return t, nil
	}
	form := url.Values{"grant_type": {c.grant}}
	if c.account != "" {
		form.Set("account_id", c.account)
	}
	if c.scope != "" {
		form.Set("scope", c.scope)
	}
	const op = "fetch a token"
	var answer struct {
		Token   string      `json:"access_token"`
		Expires json.Number `json:"expires_in"`
	}
	// The answer holds a secret: what of it does not fit is not repeated.
	if _, _, err := c.http.JSON(ctx, rest.Request{Op: op, Method: http.MethodPost, Path: c.path, Body: []byte(form.Encode()), Repeatable: true}, &answer); err != nil {
		return "", err
	}
	if answer.Token == "" {
		return "", &connectors.Error{Code: connectors.Denied, Op: op, Message: "the answer of config.oauth.token_url has no token"}
	}
	seconds, err := answer.Expires.Int64()
	if err != nil || seconds <= 0 {
		seconds = int64(2 * early / time.Second) // not said: used for a minute
	}
	c.token, c.expires = connectors.NewSecret(answer.Token), c.now().Add(time.Duration(seconds)*time.Second-early)
	return answer.Token, nil
}
