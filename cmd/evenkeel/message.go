package main

import (
	"context"
	"errors"
	"strings"

	"github.com/evenkeel/evenkeel/drivers/dns/cloudflare"
	"github.com/evenkeel/evenkeel/drivers/dns/rfc2136"
	"github.com/evenkeel/evenkeel/drivers/git"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/schema"
)

// message is an error as people read it: what failed, where, why, and what to do.
func message(err error) string {
	var problems schema.Problems
	var status *statusError
	switch {
	case errors.As(err, &status), errors.Is(err, errDiffers):
		return ""
	case errors.Is(err, errInterrupted):
		return "evenkeel: interrupted\n"
	case errors.As(err, &problems):
		return invalidMessage(problems)
	}
	text := "evenkeel: " + plainly(err.Error()) + "\n"
	if r := remedy(err); r != "" {
		text += "  " + r + "\n"
	}
	return text
}

func invalidMessage(problems schema.Problems) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(p.String() + "\n")
	}
	b.WriteString("evenkeel: the spec is invalid: " + counted(len(problems), "problem") + "; nothing was changed\n")
	return b.String()
}

// plainly replaces the words of Go's own errors that say nothing to people.
func plainly(text string) string {
	return strings.NewReplacer(
		"context deadline exceeded (Client.Timeout exceeded while awaiting headers)", "no answer in time",
		context.DeadlineExceeded.Error(), "no answer in time",
		context.Canceled.Error(), "interrupted",
	).Replace(text)
}

// remedy says what to do about errors that don't say it themselves.
func remedy(err error) string {
	var zone *cloudflare.Error
	var served *rfc2136.Error
	switch {
	case git.ReasonOf(err) != "", errors.As(err, &zone), errors.As(err, &served): // says it
		return ""
	case errors.Is(err, fleet.ErrUnreachable):
		return "Check that the Docker Engine runs and that its endpoint in the Fleet is right: docker -H ENDPOINT version"
	case errors.Is(err, fleet.ErrFenced):
		return "Another controller works on this fleet now; wait for it or stop it, then try again."
	case errors.Is(err, fleet.ErrNoImage):
		return "Push the image, mend its name, or load it on the hosts, then try again."
	case errors.Is(err, context.DeadlineExceeded):
		return "Something didn't answer in time; `evenkeel hosts` shows which host."
	}
	return ""
}
