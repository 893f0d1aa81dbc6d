package registry_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/registry"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(text), mode))
}

const image1 = "registry.example.com/shop/web:1"

func entry(from spec.From) *spec.Registry {
	return &spec.Registry{Server: "registry.example.com", Username: "ci", Password: from}
}

func TestCredentialsOfTheFleetAreReadAnew(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"REGISTRY_PASSWORD": "one"}
	c := open(t, registry.Options{CredentialsDir: dir, Getenv: func(name string) string { return env[name] }})
	write(t, filepath.Join(dir, "hub/token"), "two\r\n", 0o600)

	byEnv, byFile := entry(spec.From{Env: "REGISTRY_PASSWORD"}), entry(spec.From{File: "hub/token"})
	as, err := c.Credentials(t.Context(), byEnv, image1)
	require.NoError(t, err)
	require.Equal(t, fleet.Credentials{Username: "ci", Password: "one", From: "$REGISTRY_PASSWORD"}, as)
	as, err = c.Credentials(t.Context(), byFile, image1)
	require.NoError(t, err)
	require.Equal(t, fleet.Credentials{Username: "ci", Password: "two", From: "the file hub/token in --credentials-dir"}, as)

	env["REGISTRY_PASSWORD"] = "three"
	write(t, filepath.Join(dir, "hub/token"), "four", 0o600)
	as, err = c.Credentials(t.Context(), byEnv, image1)
	require.NoError(t, err)
	require.Equal(t, "three", as.Password)
	as, err = c.Credentials(t.Context(), byFile, image1)
	require.NoError(t, err)
	require.Equal(t, "four", as.Password)
}

func TestCredentialsThatAreNotThere(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "empty"), "\n", 0o600)
	write(t, filepath.Join(dir, "large"), string(make([]byte, 1<<20)), 0o600)
	for name, test := range map[string]struct {
		from spec.From
		dir  string
		says string
	}{
		"no variable":  {spec.From{Env: "NONE"}, dir, "the environment variable NONE isn't set or is empty: set it where evenkeel runs"},
		"no directory": {spec.From{File: "a"}, "", "a is a file of the credentials directory: name the directory with --credentials-dir"},
		"no file":      {spec.From{File: "a"}, dir, "there is no file " + dir + "/a: put it there, or mend the Fleet's `registries` or --credentials-dir"},
		"empty":        {spec.From{File: "empty"}, dir, "the file " + dir + "/empty is empty: write the secret into it"},
		"large":        {spec.From{File: "large"}, dir, dir + "/large has 1048576 bytes, more than any secret: it must be another file"},
		"a directory":  {spec.From{File: "."}, dir, dir + " is no regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, registry.Options{CredentialsDir: test.dir, Getenv: func(string) string { return "" }})
			_, err := c.Credentials(t.Context(), entry(test.from), image1)
			require.EqualError(t, err, "the password for registry registry.example.com: "+test.says)
		})
	}
}

func basic(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func TestDockersOwnCredentials(t *testing.T) {
	dir := t.TempDir()
	helpers := t.TempDir()
	t.Setenv("PATH", helpers+":"+os.Getenv("PATH"))
	helper := func(name, script string) {
		write(t, filepath.Join(helpers, "docker-credential-"+name), "#!/bin/sh\n"+script, 0o700)
	}
	helper("store", `read -r server
case "$server" in
held.example.com) echo '{"ServerURL":"held.example.com","Username":"shop","Secret":"held"}';;
token.example.com) echo '{"Username":"<token>","Secret":"idtoken"}';;
*) echo "credentials not found in native keychain"; exit 1;;
esac`)
	helper("broken", `echo `+password+`; echo `+password+` >&2; exit 3`)
	helper("garbled", `echo `+password)
	helper("stuck", "exec sleep 1000")
	config := func(t *testing.T, v string) *registry.Client {
		write(t, filepath.Join(dir, "config.json"), v, 0o600)
		return open(t, registry.Options{DockerConfig: dir})
	}
	auths := fmt.Sprintf(`{"auths": {"registry.example.com": {"auth": %q}, "https://old.example.com/v1/": {"auth": %q}, "https://index.docker.io/v1/": {"auth": %q},
		"both.example.com": {"identitytoken": "t", "auth": %q}, "empty.example.com": {}}, "credHelpers": {"held.example.com": "store"}}`,
		basic("a:b:c"), basic("o:p"), basic("h:u"), basic("x:"))
	file := dir + "/config.json"
	for name, test := range map[string]struct {
		config, image string
		want          fleet.Credentials
	}{
		"by its name":       {auths, image1, fleet.Credentials{Username: "a", Password: "b:c", From: file}},
		"by an old address": {auths, "old.example.com/web:1", fleet.Credentials{Username: "o", Password: "p", From: file}},
		"Docker Hub":        {auths, "nginx:1", fleet.Credentials{Username: "h", Password: "u", From: file}},
		"identity token":    {auths, "both.example.com/web:1", fleet.Credentials{Username: "x", IdentityToken: "t", From: file}},
		"another port":      {auths, "registry.example.com:5000/web:1", fleet.Credentials{}},
		"logged out":        {auths, "empty.example.com/web:1", fleet.Credentials{}},
		"helper of one":     {auths, "held.example.com/web:1", fleet.Credentials{Username: "shop", Password: "held", From: "docker-credential-store"}},
		"helper of all": {`{"credsStore": "store"}`, "token.example.com/web:1",
			fleet.Credentials{IdentityToken: "idtoken", From: "docker-credential-store"}},
		"a helper that has none": {`{"credsStore": "store"}`, image1, fleet.Credentials{}},
		"a broken helper":        {`{"credsStore": "broken"}`, image1, fleet.Credentials{Missing: "docker-credential-broken failed: exit status 3"}},
		"a garbled helper":       {`{"credsStore": "garbled"}`, image1, fleet.Credentials{Missing: "docker-credential-garbled failed: its answer can't be read"}},
		"no such helper": {`{"credsStore": "gone"}`, image1, fleet.Credentials{
			Missing: `docker-credential-gone failed: exec: "docker-credential-gone": executable file not found in $PATH`}},
		"a path for a helper": {`{"credsStore": "../x"}`, image1, fleet.Credentials{Missing: `Docker's config.json names the helper "../x", which is no name`}},
		"no JSON":             {`{"auths"`, image1, fleet.Credentials{Missing: "reading " + file + ": unexpected EOF"}},
	} {
		t.Run(name, func(t *testing.T) {
			as, err := config(t, test.config).Credentials(t.Context(), nil, test.image)
			require.NoError(t, err, "an image may need none")
			require.Equal(t, secrets(test.want), secrets(as))
			require.Equal(t, test.want, as)
		})
	}
	t.Run("a stuck helper", func(t *testing.T) {
		write(t, file, `{"credsStore": "stuck"}`, 0o600)
		as, err := open(t, registry.Options{DockerConfig: dir, Timeout: 200 * time.Millisecond}).Credentials(t.Context(), nil, image1)
		require.NoError(t, err)
		require.Equal(t, fleet.Credentials{Missing: "docker-credential-stuck gave no answer within 200ms"}, as)
	})
	t.Run("no config", func(t *testing.T) {
		as, err := open(t, registry.Options{}).Credentials(t.Context(), nil, image1)
		require.NoError(t, err)
		require.Equal(t, fleet.Credentials{}, as)
	})
}

// secrets are what printing leaves out.
func secrets(as fleet.Credentials) [3]string {
	return [3]string{as.Username, as.Password, as.IdentityToken}
}

func TestCredentialsAreNeverPrinted(t *testing.T) {
	as := fleet.Credentials{Username: "ci", Password: password, IdentityToken: password, From: "$A"}
	asJSON, err := json.Marshal(map[string]any{"as": as, "pointer": &as})
	require.NoError(t, err)
	for _, printed := range []string{
		fmt.Sprint(as), fmt.Sprint(&as), fmt.Sprintf("%v %+v %#v %s %q %x", as, as, as, as, as, as), string(asJSON), as.Refused("registry.example.com"),
		fmt.Sprintf("%v", []fleet.Credentials{as}), fmt.Errorf("why: %v", as).Error(),
	} {
		require.NotContains(t, printed, password)
	}
}
