package okta

import (
	"crypto/ecdsa"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v4"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
)

// tokens gets access tokens for a service app by the client credentials flow with a signed assertion (RFC 7523).
type tokens struct {
	client   *rest.Client
	clientID string
	keyID    string
	key      any
	method   jwt.SigningMethod
	audience string
	scopes   string
	now      func() time.Time
	value    string
	until    time.Time
}

const (
	opToken = "get an access token"
	// assertionLife is short: the assertion is used at once. Okta accepts an hour at most.
	assertionLife = 5 * time.Minute
	// tokenMargin is the time before its expiry at which a token is replaced.
	tokenMargin = time.Minute
)

// newTokens reads the key. base is the client's config without an authorization.
func newTokens(s settings, base rest.Config, apply bool) (*tokens, error) {
	t := &tokens{clientID: s.credential.ClientID, keyID: s.credential.KeyID, now: s.now, audience: strings.TrimSuffix(string(s.URL), "/") + "/oauth2/v1/token"}
	pem := []byte(s.credential.PrivateKey.Reveal())
	if key, err := jwt.ParseRSAPrivateKeyFromPEM(pem); err == nil {
		t.key, t.method = key, jwt.SigningMethodRS256
	} else if key, err := jwt.ParseECPrivateKeyFromPEM(pem); err == nil {
		t.key, t.method = key, curve(key)
	}
	if t.method == nil {
		// The parsers' errors may quote the key.
		return nil, &connectors.Error{Code: connectors.Invalid, Op: opToken, Message: "invalid private key (expected an RSA or EC key in PEM form)"}
	}
	scopes := []string{"okta.groups.read", "okta.users.read", "okta.apps.read"}
	if s.AdminRoles {
		scopes = append(scopes, "okta.roles.read")
	}
	if apply {
		scopes = append(scopes, "okta.groups.manage", "okta.apps.manage")
		if s.AdminRoles {
			scopes = append(scopes, "okta.roles.manage")
		}
	}
	t.scopes = strings.Join(scopes, " ")
	base.ContentType = "application/x-www-form-urlencoded"
	client, err := rest.New(base)
	if err != nil {
		return nil, err
	}
	t.client = client
	return t, nil
}

func curve(key *ecdsa.PrivateKey) jwt.SigningMethod {
	switch key.Curve.Params().BitSize {
	case 256:
		return jwt.SigningMethodES256
	case 384:
		return jwt.SigningMethodES384
	case 521:
		return jwt.SigningMethodES512
	}
	return nil
}

// authorize adds an access token to a request, after getting a new one if necessary.
func (t *tokens) authorize(r *http.Request) error {
	now := t.now()
	if t.value == "" || !now.Before(t.until.Add(-tokenMargin)) {
		assertion := jwt.NewWithClaims(t.method, jwt.MapClaims{"iss": t.clientID, "sub": t.clientID, "aud": t.audience,
			"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(), "jti": rand.Text()})
		if t.keyID != "" {
			assertion.Header["kid"] = t.keyID
		}
		signed, err := assertion.SignedString(t.key)
		if err != nil {
			return &connectors.Error{Code: connectors.Invalid, Op: opToken, Message: "the private key can't sign"}
		}
		form := url.Values{"grant_type": {"client_credentials"}, "scope": {t.scopes}, "client_assertion": {signed},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}
		var answer struct {
			Type    string `json:"token_type"`
			Token   string `json:"access_token"`
			Expires int    `json:"expires_in"`
		}
		_, _, err = t.client.JSON(r.Context(), rest.Request{Op: opToken, Method: http.MethodPost, Path: "/oauth2/v1/token", Body: []byte(form.Encode()), Repeatable: true}, &answer)
		switch {
		case connectors.CodeOf(err) == connectors.Invalid:
			// Okta answers 400 for an unknown client, key or scope.
			return recode(err, connectors.Denied)
		case err != nil:
			return err
		case answer.Token == "" || answer.Expires <= 0 || !strings.EqualFold(answer.Type, "Bearer"):
			return &connectors.Error{Code: connectors.Denied, Op: opToken, Message: "Okta didn't return a bearer token: turn off DPoP proofs in the service app"}
		}
		t.value, t.until = answer.Token, now.Add(time.Duration(answer.Expires)*time.Second)
	}
	r.Header.Set("Authorization", "Bearer "+t.value)
	return nil
}

// forget drops the token, so that the next request gets another.
func (t *tokens) forget() { t.value = "" }
