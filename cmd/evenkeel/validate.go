package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
	"github.com/evenkeel/evenkeel/drivers/git"
	"github.com/evenkeel/evenkeel/spec"
)

func newValidateCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "validate [PATH]",
		Short: "Check specs",
		Long: `Checks the specs in a folder (the present one unless PATH is given) as they are, committed
or not, and prints every problem as file:line:column. It speaks to no host.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "."
			if len(args) == 1 {
				path = args[0]
			}
			return runValidate(cmd.Context(), p, path)
		},
	}
}

// validation is what validate found, for programs.
type validation struct {
	Valid    bool      `json:"valid"`
	Fleet    string    `json:"fleet,omitempty"`
	Problems []problem `json:"problems"`
	Warnings []problem `json:"warnings"`
}

// problem is one place that is wrong, or valid and probably not meant.
type problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path"`
	Message string `json:"message"`
}

func runValidate(ctx context.Context, p *program, path string) error {
	load := new(spec.Loader).Load
	files, err := worktree(ctx, path, reads(load))
	if err != nil {
		return err
	}
	loaded, err := load(files)
	var problems spec.Problems
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	if p.global.Output == formatJSON {
		return writeValidation(p, loaded, problems)
	}
	if err != nil {
		return err
	}
	for _, w := range loaded.Warnings {
		_, _ = fmt.Fprintln(p.err, p.style(p.err).Warning("warning: "+w.String()))
	}
	_, err = fmt.Fprintf(p.out, "valid: fleet %s, %s, %s\n", loaded.Fleet.Name,
		counted(len(loaded.Environments), "environment"), counted(layers(loaded), "layer"))
	return err
}

// worktree returns the files in a folder as they are, those that are read.
func worktree(ctx context.Context, path string, reads func(fs.FS)) (fs.FS, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reading %s: there is no such folder", path)
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", path, err)
	case !info.IsDir():
		return nil, fmt.Errorf("reading %s: it is a file; name the folder that holds the specs (a spec is checked with all others): evenkeel validate %s",
			path, filepath.Dir(path))
	}
	source, err := git.Open(git.Options{Repo: path, Worktree: true, Reads: reads})
	if err != nil {
		return nil, err
	}
	revision, err := source.Fetch(ctx)
	return revision.Files, err
}

func layers(s *spec.Spec) (n int) {
	for i := range s.Environments {
		n += len(s.Environments[i].Layers)
	}
	return n
}

func writeValidation(p *program, loaded *spec.Spec, problems spec.Problems) error {
	v := validation{Valid: len(problems) == 0, Problems: plainProblems(problems), Warnings: []problem{}}
	if loaded != nil {
		v.Fleet, v.Warnings = loaded.Fleet.Name, plainProblems(loaded.Warnings)
	}
	if err := render.JSON(p.out, v); err != nil {
		return err
	}
	if !v.Valid {
		return &statusError{exitInvalid}
	}
	return nil
}

func plainProblems(from spec.Problems) []problem {
	out := make([]problem, 0, len(from))
	for _, f := range from {
		out = append(out, problem{File: f.File, Line: f.Line, Column: f.Column, Path: f.Path, Message: f.Message})
	}
	return out
}
