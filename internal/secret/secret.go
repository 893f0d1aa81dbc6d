// Package secret reads a secret that a spec names and that is in no repository. It is read anew each time it is asked
// for, and never kept.
package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// most is far more than any token has.
const most = 64 << 10

// Source is where a secret is: in a variable of the environment, or in a file below the credentials directory.
type Source struct {
	Env  string
	File string
	// Place is what of the spec names it, for people: the Fleet's `registries`.
	Place string
}

// Read reads a secret; an end of line at its end isn't part of it. dir is the credentials directory; empty: there is
// none.
func Read(s Source, dir string, getenv func(string) string) (string, error) {
	if s.Env != "" {
		v := getenv(s.Env)
		if v == "" {
			return "", fmt.Errorf("the environment variable %s isn't set or is empty: set it where evenkeel runs", s.Env)
		}
		return v, nil
	}
	if dir == "" {
		return "", fmt.Errorf("%s is a file of the credentials directory: name the directory with --credentials-dir", s.File)
	}
	path := filepath.Join(dir, s.File)
	v, err := readSmall(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("there is no file %s: put it there, or mend %s or --credentials-dir", path, s.Place)
	case err != nil:
		return "", err
	}
	text := strings.TrimRight(string(v), "\r\n")
	if text == "" {
		return "", fmt.Errorf("the file %s is empty: write the secret into it", path)
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
	case info.Size() > most:
		return nil, fmt.Errorf("%s has %d bytes, more than any secret: it must be another file", path, info.Size())
	}
	return os.ReadFile(path)
}
