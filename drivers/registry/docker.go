package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker/cli/cli/config/configfile"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// dockerHub is what Docker calls Docker Hub among credentials.
const dockerHub = "https://index.docker.io/v1/"

// identity is the user name with which a helper says that the secret is an identity token.
const identity = "<token>"

// notFound is what a helper says, and exits with 1, that has nothing for a registry.
const notFound = "credentials not found in native keychain"

// docker reads what `docker login` left for a registry: in config.json, or with the helper that it names.
func (c *Client) docker(ctx context.Context, server string) fleet.Credentials {
	if c.opts.DockerConfig == "" {
		return fleet.Credentials{}
	}
	path := filepath.Join(c.opts.DockerConfig, "config.json")
	file, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fleet.Credentials{}
	}
	config := configfile.New(path)
	if err == nil {
		err = config.LoadFromReader(bytes.NewReader(file))
	}
	if err != nil {
		return fleet.Credentials{Missing: fmt.Sprintf("reading %s: %s", path, strings.TrimPrefix(err.Error(), "open "+path+": "))}
	}
	key := server
	if server == spec.DockerHub {
		key = dockerHub
	}
	helper := config.CredentialsStore
	if named, ok := config.CredentialHelpers[key]; ok {
		helper = named
	} else if named, ok := config.CredentialHelpers[server]; ok {
		helper = named
	}
	if helper != "" {
		return c.helped(ctx, helper, key)
	}
	return inFile(config, path, key)
}

// inFile finds a registry's entry; older versions of Docker wrote its address as a URL.
func inFile(config *configfile.ConfigFile, path, key string) fleet.Credentials {
	entry, ok := config.AuthConfigs[key]
	for _, address := range slices.Sorted(maps.Keys(config.AuthConfigs)) {
		if !ok && hostOf(address) == hostOf(key) {
			entry, ok = config.AuthConfigs[address], true
		}
	}
	if entry.Password == "" && entry.IdentityToken == "" {
		return fleet.Credentials{}
	}
	return fleet.Credentials{Username: entry.Username, Password: entry.Password, IdentityToken: entry.IdentityToken, From: path}
}

func hostOf(address string) string {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		address = rest
	}
	host, _, _ := strings.Cut(address, "/")
	return host
}

// helped asks one of Docker's credential helpers. What one writes is repeated nowhere: nobody knows what is in it.
func (c *Client) helped(ctx context.Context, helper, key string) fleet.Credentials {
	program := "docker-credential-" + helper
	if strings.ContainsAny(helper, `/\`) {
		return fleet.Credentials{Missing: fmt.Sprintf("Docker's config.json names the helper %q, which is no name", helper)}
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "get")
	cmd.Stdin = strings.NewReader(key)
	cmd.WaitDelay = time.Second // for what it has started and left behind
	out, err := cmd.Output()
	var found struct{ Username, Secret string }
	switch {
	case strings.TrimSpace(string(out)) == notFound:
		return fleet.Credentials{}
	case ctx.Err() != nil:
		return fleet.Credentials{Missing: fmt.Sprintf("%s gave no answer within %s", program, c.opts.Timeout)}
	case err != nil:
		return fleet.Credentials{Missing: fmt.Sprintf("%s failed: %s", program, err)}
	case json.Unmarshal(out, &found) != nil:
		return fleet.Credentials{Missing: program + " failed: its answer can't be read"}
	case found.Username == identity:
		return fleet.Credentials{IdentityToken: found.Secret, From: program}
	}
	return fleet.Credentials{Username: found.Username, Password: found.Secret, From: program}
}
