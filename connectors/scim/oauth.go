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

// client fetches short-lived tokens and keeps each until shortly before its expiry.
type client struct {
	TokenURL  connectors.Address `json:"token_url"`
	ClientID  string             `json:"client_id"`
	Secret    connectors.Secret  `json:"client_secret"`
	Grant     string             `json:"grant"`
	AccountID string             `json:"account_id"`
	Scope     string             `json:"scope"`

	http    *rest.Client
	path    string
	now     func() time.Time
	token   connectors.Secret
	expires time.Time
}

// early is how long before its expiry a token is replaced: requests take time, and clocks differ.
const early = time.Minute

func (c *client) open(s settings) error {
	address := string(c.TokenURL)
	i := strings.LastIndexByte(address, '/') // rest.Client wants a path below an address
	c.now, c.path = s.now, address[i+1:]
	var err error
	c.http, err = rest.New(rest.Config{URL: address[:i], Secrets: []connectors.Secret{c.Secret}, ContentType: "application/x-www-form-urlencoded",
		Authorize: func(r *http.Request) error {
			r.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.Secret.Reveal())) // RFC 6749, 2.3.1
			return nil
		}, Timeout: s.Timeout, Retries: orNever(s.Retries), Transport: s.transport, Now: s.now})
	return err
}

// fetch returns a token that is valid for a while.
func (c *client) fetch(ctx context.Context) (string, error) {
	if t := c.token.Reveal(); t != "" && c.now().Before(c.expires) {
		return t, nil
	}
	form := url.Values{"grant_type": {c.Grant}}
	if c.AccountID != "" {
		form.Set("account_id", c.AccountID)
	}
	if c.Scope != "" {
		form.Set("scope", c.Scope)
	}
	const op = "fetch a token"
	var answer struct {
		Token   string      `json:"access_token"`
		Expires json.Number `json:"expires_in"`
	}
	// The answer contains a secret, so errors never repeat it.
	if _, _, err := c.http.JSON(ctx, rest.Request{Op: op, Method: http.MethodPost, Path: c.path, Body: []byte(form.Encode()), Repeatable: true}, &answer); err != nil {
		return "", err
	}
	if answer.Token == "" {
		return "", &connectors.Error{Code: connectors.Denied, Op: op, Message: "config.oauth.token_url: the answer lacks a token (expected access_token)"}
	}
	seconds, err := answer.Expires.Int64()
	if err != nil || seconds <= 0 {
		seconds = int64(2 * early / time.Second) // unknown: use it for a minute
	}
	c.token, c.expires = connectors.NewSecret(answer.Token), c.now().Add(time.Duration(seconds)*time.Second-early)
	return answer.Token, nil
}
