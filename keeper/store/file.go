package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// A file is one header line, with the format's version and a digest of the rest, and JSON. The digest
// tells a file that a disk tore or bent from a good one.
const (
	magic   = "evenkeel-keeper"
	version = 1
)

func header(body []byte) []byte {
	sum := sha256.Sum256(body)
	return fmt.Appendf(nil, "%s %d %s\n", magic, version, hex.EncodeToString(sum[:]))
}

func save(d *disk, name string, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // a record comes back as the bytes that it was given in
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return d.write(name, header(b.Bytes()), b.Bytes())
}

// load reads a file into v. A missing file leaves v as it is.
func load(d *disk, name string, limit int64, v any) error {
	b, err := d.read(name, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	body, err := unwrap(b)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}

// unwrap checks a file's header and returns what follows it.
func unwrap(b []byte) ([]byte, error) {
	line, body, ok := bytes.Cut(b, []byte("\n"))
	if !ok {
		return nil, errors.New("it has no header: it is torn")
	}
	var name, sum string
	var v int
	if _, err := fmt.Sscanf(string(line), "%s %d %s", &name, &v, &sum); err != nil || name != magic {
		return nil, errors.New("its header isn't a keeper's")
	}
	if v != version {
		return nil, fmt.Errorf("it is of format %d, this keeper reads %d", v, version)
	}
	if !bytes.Equal(append(line, '\n'), header(body)) {
		return nil, errors.New("its content doesn't match its digest: it is torn")
	}
	return body, nil
}

// Save writes one value into a file of a folder, so that a reader finds the old one or the new, whole.
func Save(dir, name string, v any) error { return save(&disk{dir: dir}, name, v) }

// Load reads what Save wrote, of at most limit bytes. A missing file leaves v as it is.
func Load(dir, name string, limit int64, v any) error { return load(&disk{dir: dir}, name, limit, v) }
