package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// ErrTooLarge means that an answer is larger than the limit: the next try would be, too.
var ErrTooLarge = errors.New("the answer is too large")

// Bounded limits each try's time and each answer's size, in bytes. The answer is read here, so that a truncated one fails
// the try and not the decoder.
func Bounded(next http.RoundTripper, timeout time.Duration, size int64) http.RoundTripper {
	return &bounded{next, timeout, size}
}

type bounded struct {
	next    http.RoundTripper
	timeout time.Duration
	size    int64
}

func (b *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), b.timeout)
	defer cancel()
	resp, err := b.next.RoundTrip(req.Clone(ctx))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, b.size+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if int64(len(body)) > b.size {
		return nil, fmt.Errorf("%w (more than %d bytes)", ErrTooLarge, b.size)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}
