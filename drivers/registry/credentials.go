package registry

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"github.com/evenkeel/evenkeel/internal/secret"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

func (o Options) withDefaults() Options {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	o.Timeout = cmp.Or(o.Timeout, 20*time.Second)
	o.AtOnce = cmp.Or(o.AtOnce, 4)
	if o.DockerConfig == "" {
		o.DockerConfig = o.Getenv("DOCKER_CONFIG")
	}
	if home := o.home(); o.DockerConfig == "" && home != "" {
		o.DockerConfig = filepath.Join(home, ".docker")
	}
	return o
}

// home is the home directory; services have none in their environment.
func (o Options) home() string {
	if home := o.Getenv("HOME"); home != "" {
		return home
	}
	if u, err := user.Current(); err == nil {
		return u.HomeDir
	}
	return ""
}

// Credentials reads those for an image: as the Fleet's entry for its registry says, else Docker's own. An
// entry that can't be read is an error; where Docker's own can't, there are none, and they say why.
func (c *Client) Credentials(ctx context.Context, entry *spec.Registry, ref string) (fleet.Credentials, error) {
	if entry == nil {
		return c.docker(ctx, fleet.Registry(ref)), nil
	}
	password, err := c.secret(entry.Password)
	if err != nil {
		return fleet.Credentials{}, fmt.Errorf("the password for registry %s: %w", entry.Server, err)
	}
	return fleet.Credentials{Username: entry.Username, Password: password, From: entry.Password.String()}, nil
}

// secret reads what a spec says where to find.
func (c *Client) secret(from spec.From) (string, error) {
	at := secret.Source{Env: from.Env, File: from.File, Place: "the Fleet's `registries`"}
	return secret.Read(at, c.opts.CredentialsDir, c.opts.Getenv)
}
