package main

import (
	"time"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/spec"
)

// openEngine gives a host's [docker.Host], which is as the reconciler wants it.
func openEngine(show render.Progress, credentials string) func(spec.Host) (reconciler.Engine, error) {
	return func(h spec.Host) (reconciler.Engine, error) {
		warn := func(message string) {
			show.Notice(reconciler.Notice{Time: time.Now().UTC(), Level: "warning", Host: h.Name, Message: message})
		}
		host, err := docker.Open(h, docker.Options{Warn: warn, CredentialsDir: credentials})
		if err != nil {
			return nil, err
		}
		return host, nil
	}
}
