package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set when a release is built: -ldflags "-X main.version=1.2.3".
var version = "dev"

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func newVersionCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long:  "Prints the version, the commit that it was built from, and what it was built with.",
		Args:  noArguments,
		RunE:  func(*cobra.Command, []string) error { return runVersion(p) },
	}
}

func runVersion(p *program) error {
	v := versionInfo{Version: version, Commit: builtFrom(), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if p.global.Output == formatJSON {
		return json.NewEncoder(p.out).Encode(v)
	}
	commit := ""
	if v.Commit != "" {
		commit = " (" + v.Commit[:min(len(v.Commit), 12)] + ")"
	}
	_, err := fmt.Fprintf(p.out, "evenkeel %s%s %s %s/%s\n", v.Version, commit, v.Go, v.OS, v.Arch)
	return err
}

func builtFrom() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
