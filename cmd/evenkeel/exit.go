package main

import (
	"errors"
	"fmt"

	"github.com/evenkeel/evenkeel/schema"
)

// The exit statuses, the same for every command.
const (
	exitDone        = 0
	exitFailed      = 1
	exitDiffers     = 2
	exitInvalid     = 3
	exitInterrupted = 130
)

// exitHelp is the part of every command's help that lists them.
const exitHelp = `

EXIT STATUS
===========

Exit status is   0 if all is done.
Exit status is   1 if something failed.
Exit status is   2 if differences were found (only with --exit-code).
Exit status is   3 if the spec is invalid.
Exit status is 130 if the command was interrupted.
`

var (
	// errInterrupted ends a command that was told to stop.
	errInterrupted = errors.New("interrupted")
	// errDiffers ends a command with --exit-code that found differences; they were printed already.
	errDiffers = errors.New("differences found")
)

// statusError is an error whose message has been printed, or that has none: only its status counts.
type statusError struct{ status int }

func (e *statusError) Error() string { return fmt.Sprintf("exit status %d", e.status) }

func exitStatus(err error) int {
	var problems schema.Problems
	var status *statusError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.Is(err, errDiffers):
		return exitDiffers
	case errors.As(err, &status):
		return status.status
	case errors.As(err, &problems):
		return exitInvalid
	}
	return exitFailed
}
