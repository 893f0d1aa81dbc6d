package rfc2136

import "time"

// Tell has a zone tell of its messages.
func Tell(z *Zone, called func(method, outcome string, took time.Duration)) { z.called = called }

// ServerOf is whom a zone asks.
func ServerOf(z *Zone) string { return z.server }
