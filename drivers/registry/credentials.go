package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

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

// maxSecret is far more than any token has.
const maxSecret = 64 << 10

// secret reads what a spec says where to find.
func (c *Client) secret(from spec.From) (string, error) {
	if from.Env != "" {
		v := c.opts.Getenv(from.Env)
		if v == "" {
			return "", fmt.Errorf("the environment variable %s isn't set or is empty: set it where evenkeel runs", from.Env)
		}
		return v, nil
	}
	if c.opts.CredentialsDir == "" {
		return "", fmt.Errorf("%s is a file of the credentials directory: name the directory with --credentials-dir", from.File)
	}
	path := filepath.Join(c.opts.CredentialsDir, from.File)
	v, err := readSmall(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("there is no file %s: put it there, or mend the Fleet's `registries` or --credentials-dir", path)
	case err != nil:
		return "", err
	}
	text := strings.TrimRight(string(v), "\r\n")
	if text == "" {
		return "", fmt.Errorf("the file %s is empty: write the password into it", path)
	}
	return text, nil
}

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	case info.Size() > maxSecret:
		return nil, fmt.Errorf("%s has %d bytes, more than any password: it must be another file", path, info.Size())
	}
	return os.ReadFile(path)
}
