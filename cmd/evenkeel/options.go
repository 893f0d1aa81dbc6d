package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/evenkeel/evenkeel/drivers/git"
)

// RepositoryOptions say where the specs are.
type RepositoryOptions struct {
	Repo string
	Ref  string
	Path string

	GitUsername, GitTokenFile, GitSSHKey, GitKnownHosts string
}

// AddFlags adds the flags.
func (o *RepositoryOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Repo, "repo", ".", "git repository (a path, https://, ssh:// or user@host:path) or plain directory with the specs")
	f.StringVar(&o.Ref, "ref", "", "branch, tag or commit to read (default HEAD)")
	f.StringVar(&o.Path, "path", "", "folder in the repository that holds the specs (default all of it)")
	f.StringVar(&o.GitUsername, "git-username", "", "user at an https repository (default git)")
	f.StringVar(&o.GitTokenFile, "git-token-file", "", "file with the token or password for an https repository (or the token itself in $EVENKEEL_GIT_TOKEN)")
	f.StringVar(&o.GitSSHKey, "git-ssh-key", "", "private key for an ssh repository (default the agent's keys, then ~/.ssh/id_*)")
	f.StringVar(&o.GitKnownHosts, "git-known-hosts", "", "host keys for an ssh repository (default ~/.ssh/known_hosts, then /etc/ssh/ssh_known_hosts)")
}

// source is what to read, and how to be let in.
func (o *RepositoryOptions) source(getenv func(string) string) git.Options {
	return git.Options{
		Repo: o.Repo, Ref: o.Ref, Path: o.Path,
		Access: git.Access{
			Username: o.GitUsername, Token: getenv("EVENKEEL_GIT_TOKEN"), TokenFile: o.GitTokenFile,
			SSHKey: o.GitSSHKey, KnownHosts: o.GitKnownHosts,
		},
	}
}

// FleetOptions are the flags of commands that speak to a fleet's hosts.
type FleetOptions struct {
	RepositoryOptions
	KeeperImage    string
	CredentialsDir string
}

// AddFlags adds the flags.
func (o *FleetOptions) AddFlags(f *pflag.FlagSet) {
	o.RepositoryOptions.AddFlags(f)
	f.StringVar(&o.CredentialsDir, "credentials-dir", "",
		"directory of the keys, certificates and passwords that the Fleet names (default $CREDENTIALS_DIRECTORY, which systemd sets)")
	f.StringVar(&o.KeeperImage, "keeper-image", "",
		"static evenkeel program for keepers on hosts that this one can't run on (default: this one, or evenkeel-linux-<arch> beside it)")
}

// credentials is the directory of keys, certificates and passwords; empty: none is known.
func (o *FleetOptions) credentials(getenv func(string) string) string {
	if o.CredentialsDir != "" {
		return o.CredentialsDir
	}
	return getenv("CREDENTIALS_DIRECTORY")
}

// ScopeOptions restrict a command to one environment.
type ScopeOptions struct{ Environment string }

// AddFlags adds the flags.
func (o *ScopeOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVarP(&o.Environment, "environment", "e", "", "only this environment (default all)")
}

// JournalOptions say where it is kept what happened.
type JournalOptions struct{ State string }

// AddFlags adds the flags.
func (o *JournalOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.State, "state", "", "directory of the journal (default $XDG_STATE_HOME/evenkeel)")
}

// dir returns the journal's directory.
func (o *JournalOptions) dir(getenv func(string) string) (string, error) {
	if o.State != "" {
		return o.State, nil
	}
	if base := getenv("XDG_STATE_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "evenkeel"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("finding a place for the journal: %w; name one with --state", err)
	}
	return filepath.Join(home, ".local", "state", "evenkeel"), nil
}

// IntervalOptions say how often the source is looked at without a hint.
type IntervalOptions struct{ Interval time.Duration }

// AddFlags adds the flags.
func (o *IntervalOptions) AddFlags(f *pflag.FlagSet) {
	f.DurationVar(&o.Interval, "interval", 30*time.Second, "how often to look at the repository and the hosts without a hint")
}

func (o *IntervalOptions) check() error {
	if o.Interval < time.Second {
		return fmt.Errorf("--interval %s is too short: at least 1s", o.Interval)
	}
	return nil
}
