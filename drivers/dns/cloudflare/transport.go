package cloudflare

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// attemptTime is how long one attempt may take, its answer read.
	attemptTime = 10 * time.Second
	// attempts are how many reads are tried where no answer comes, and how often a call that came too early is
	// made again.
	attempts = 3
	// pause is how long the second attempt waits for; each later one twice as long as the one before.
	pause = time.Second
	// maxAnswer bounds what is read of an answer; a thousand records are less than 1 MiB, and what is cut off isn't taken for whole.
	maxAnswer = 32 << 20
)

// transport gives every call its token and every attempt its deadline. A call that came too early (429) is made
// again when Cloudflare wants it, and until then nobody asks for anything; a read without an answer is tried
// again, a write never.
type transport struct {
	next   http.RoundTripper
	token  func() (string, error)
	at     string // whose API: tokens of two have nothing to do with each other
	limits *Limits
}

// RoundTrip makes a call.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	for attempt := 1; ; attempt++ {
		token, err := t.token()
		if err != nil {
			return nil, &tokenError{err}
		}
		token = strings.TrimSpace(token)
		g := t.limits.of(t.at, token)
		if err := g.open(ctx); err != nil {
			return nil, err
		}
		res, err := t.attempt(r, token)
		switch {
		case err == nil && res.StatusCode == http.StatusTooManyRequests:
			until := g.shut(retryAfter(res.Header, attempt))
			if attempt == attempts {
				return nil, &throttledError{until}
			}
			continue
		case err == nil && res.StatusCode >= http.StatusInternalServerError:
			err = &statusError{fmt.Sprintf("%d %s", res.StatusCode, http.StatusText(res.StatusCode))}
			res = nil
		}
		if err == nil || r.Method != http.MethodGet || attempt == attempts || ctx.Err() != nil {
			return res, err
		}
		if sleep(ctx, pause<<(attempt-1)) != nil {
			return nil, err
		}
	}
}

// attempt makes a call once and reads its answer.
func (t *transport) attempt(r *http.Request, token string) (_ *http.Response, err error) {
	call := r.Context()
	ctx, cancel := context.WithTimeout(call, attemptTime)
	defer cancel()
	r = r.Clone(ctx)
	if r.GetBody != nil {
		if r.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, late(call, ctx, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, late(call, ctx, err)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// late says of an attempt that took too long just that.
func late(call, attempt context.Context, err error) error {
	if call.Err() == nil && attempt.Err() != nil {
		return &timeoutError{attemptTime}
	}
	return err
}

// retryAfter is how long Cloudflare wants to be left alone; where it doesn't say, longer each time.
func retryAfter(h http.Header, attempt int) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), 0)
	}
	return pause << attempt
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
