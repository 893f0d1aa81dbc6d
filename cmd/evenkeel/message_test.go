package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/schema"
)

func TestMessagesAreForPeople(t *testing.T) {
	problems := schema.Problems{{File: "shop.yaml", Line: 7, Column: 5, Path: "spec.layers[0].image", Message: "is missing"}}
	tests := []struct {
		name   string
		err    error
		status int
		text   string
	}{
		{"a deadline", fmt.Errorf("starting node 3 of shop/web on hn1: %w", context.DeadlineExceeded), 1,
			"evenkeel: starting node 3 of shop/web on hn1: no answer in time\n  Something didn't answer in time; `evenkeel hosts` shows which host.\n"},
		{"a host out of reach", fmt.Errorf("reading hn1: %w", fleet.ErrUnreachable), 1,
			"evenkeel: reading hn1: unreachable\n  Check that the Docker Engine runs and that its endpoint in the Fleet is right: docker -H ENDPOINT version\n"},
		{"an invalid spec", fmt.Errorf("revision 1: %w", problems), 3,
			"shop.yaml:7:5: spec.layers[0].image: is missing\nevenkeel: the spec is invalid: 1 problem; nothing was changed\n"},
		{"interrupted", fmt.Errorf("planning: %w", errInterrupted), 130, "evenkeel: interrupted\n"},
		{"printed already", &statusError{exitFailed}, 1, ""},
		{"differences", errDiffers, 2, ""},
		{"anything else", errors.New("a disk is full"), 1, "evenkeel: a disk is full\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.status, exitStatus(tt.err))
			require.Equal(t, tt.text, message(tt.err))
		})
	}
}
