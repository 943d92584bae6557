package githubtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strconv"
	"sync"

	"github.com/golang-jwt/jwt/v4"
)

type app struct {
	id, installation int64
	slug             string
	key              *rsa.PrivateKey
}

// App is a GitHub App that is installed.
type App struct {
	ID, Installation int64
	Slug             string
	// Key is the private key, in PEM.
	Key []byte
}

// keys are the private keys by slug: making one takes as long as many a test.
var keys = struct {
	sync.Mutex
	of map[string]*rsa.PrivateKey
}{of: map[string]*rsa.PrivateKey{}}

func keyOf(slug string) (*rsa.PrivateKey, error) {
	keys.Lock()
	defer keys.Unlock()
	if keys.of[slug] == nil {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		keys.of[slug] = key
	}
	return keys.of[slug], nil
}

// App makes an App whose account is SLUG[bot], installed in every repository.
func (s *Server) App(slug string) *App {
	s.t.Helper()
	key, err := keyOf(slug)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account(slug+"[bot]", "Bot")
	a := &app{id: s.next(), installation: s.next(), slug: slug, key: key}
	s.apps[a.id] = a
	return &App{ID: a.id, Installation: a.installation, Slug: slug,
		Key: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})}
}

// Token is an installation's token, as an App would get it.
func (s *Server) Token(a *App) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token(&actor{account: s.account(a.Slug+"[bot]", "Bot"), app: a.Slug})
}

// withJWT authenticates an App by what it signed.
func (c *call) withJWT(token string) *call {
	claims := &jwt.RegisteredClaims{}
	var found *app
	parsed, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"})).ParseWithClaims(token, claims, func(*jwt.Token) (any, error) {
		id, err := strconv.ParseInt(claims.Issuer, 10, 64)
		if err != nil || c.apps[id] == nil {
			return nil, jwt.ErrTokenInvalidIssuer
		}
		found = c.apps[id]
		return &found.key.PublicKey, nil
	})
	if err == nil && parsed.Valid && claims.ExpiresAt != nil && claims.IssuedAt != nil && claims.ExpiresAt.Sub(claims.IssuedAt.Time).Minutes() <= 10 {
		c.actor = &actor{account: c.account(found.slug+"[bot]", "Bot"), app: found.slug}
	}
	return c
}

func (c *call) getApp() (int, any) {
	if c.actor == nil {
		return fail(http.StatusUnauthorized, "A JSON web token could not be decoded")
	}
	return http.StatusOK, object{"id": 1, "slug": c.actor.app, "node_id": "A", "name": c.actor.app, "owner": c.org("acme"), "description": nil, "external_url": "https://github.test/", "html_url": "https://github.test/",
		"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "permissions": object{}, "events": []any{}}
}

func (c *call) createToken() (int, any) {
	if c.actor == nil {
		return fail(http.StatusUnauthorized, "A JSON web token could not be decoded")
	}
	id, _ := strconv.ParseInt(c.params["installation_id"], 10, 64)
	for _, a := range c.apps {
		if a.installation == id && a.slug == c.actor.app {
			return http.StatusCreated, object{"token": c.token(c.actor), "expires_at": "2099-01-01T00:00:00Z", "permissions": object{}, "repository_selection": "all"}
		}
	}
	return fail(http.StatusNotFound, "Not Found")
}
