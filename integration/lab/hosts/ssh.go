package hosts

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// SSH says how a host's SSH server is reached.
type SSH struct {
	Endpoint   string // of the engine, over it: ssh://root@ADDRESS/run/docker.sock
	Address    string // host:port
	Key        string // path of the private key that it lets in
	KnownHosts string // path of a file that holds its host key
}

// hostSSHFolder is where the host itself sees the files of its server; they are on its disk.
const hostSSHFolder = "/etc/docker/ssh"

func (h *Host) sshFolder() string { return filepath.Join(h.dir(), "etc", "ssh") }

// StartSSH starts OpenSSH's server on the host, with a host key of its own, which stays the same, and a key for
// root. Settings are lines of sshd_config, which go before the lab's own. It ends with the host's power or with StopSSH.
func (h *Host) StartSSH(ctx context.Context, settings ...string) (*SSH, error) {
	s, err := h.startSSH(ctx, settings)
	if err != nil {
		return nil, fmt.Errorf("starting the SSH server of %s: %w", h.Name(), err)
	}
	return s, nil
}

func (h *Host) startSSH(ctx context.Context, settings []string) (*SSH, error) {
	path, err := program("sshd")
	if err != nil {
		return nil, errors.New("there is no sshd: install it with apt-get install openssh-server")
	}
	s := &SSH{
		Address:    net.JoinHostPort(h.Address().String(), "22"),
		Key:        filepath.Join(h.sshFolder(), "id_ed25519"),
		KnownHosts: filepath.Join(h.sshFolder(), "known_hosts"),
	}
	s.Endpoint = "ssh://root@" + h.Address().String() + "/run/docker.sock"
	if err := h.writeSSHFiles(s); err != nil {
		return nil, err
	}
	config := strings.Join(append(settings,
		"HostKey "+hostSSHFolder+"/host_key",
		"AuthorizedKeysFile "+hostSSHFolder+"/authorized_keys",
		"PidFile /run/sshd.pid",
		"PermitRootLogin prohibit-password",
		"PasswordAuthentication no",
		"UsePAM no",
		"StrictModes no",
		"",
	), "\n")
	if err := os.WriteFile(filepath.Join(h.sshFolder(), "sshd_config"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(h.dir(), "run", "sshd"), 0o755); err != nil {
		return nil, err
	}
	if _, err := h.Exec(ctx, path, "-f", hostSSHFolder+"/sshd_config", "-E", "/run/sshd.log"); err != nil {
		return nil, err
	}
	return s, waitFor(ctx, func() bool {
		c, err := h.DialContext(ctx, "tcp", s.Address)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
}

// writeSSHFiles makes the keys where there are none yet.
func (h *Host) writeSSHFiles(s *SSH) error {
	if err := os.MkdirAll(h.sshFolder(), 0o755); err != nil {
		return err
	}
	host, err := sshKey(filepath.Join(h.sshFolder(), "host_key"))
	if err != nil {
		return err
	}
	user, err := sshKey(s.Key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.KnownHosts, []byte(knownhosts.Line([]string{s.Address}, host)+"\n"), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(h.sshFolder(), "authorized_keys"), ssh.MarshalAuthorizedKey(user), 0o600)
}

// sshKey returns the public half of the key in a file, which is made if there is none.
func sshKey(path string) (ssh.PublicKey, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, err
		}
		block, err := ssh.MarshalPrivateKey(private, "lab")
		if err != nil {
			return nil, err
		}
		data = pem.EncodeToMemory(block)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return signer.PublicKey(), nil
}

// StopSSH kills the host's SSH server with all its connections. It does nothing where none runs.
func (h *Host) StopSSH(ctx context.Context) error { return h.signalSSH(ctx, unix.SIGKILL) }

// HangSSH stops the SSH server and its connections in their tracks: they accept and never answer.
func (h *Host) HangSSH(ctx context.Context) error { return h.signalSSH(ctx, unix.SIGSTOP) }

// ResumeSSH lets a hanging SSH server go on.
func (h *Host) ResumeSSH(ctx context.Context) error { return h.signalSSH(ctx, unix.SIGCONT) }

func (h *Host) signalSSH(ctx context.Context, sig unix.Signal) error {
	init, err := h.init()
	if err != nil {
		return err
	}
	for _, p := range init.descendants("sshd", "sshd-session") {
		if sig != unix.SIGKILL {
			err = p.signal(sig)
		} else {
			err = p.end(ctx, sig)
		}
		if err != nil {
			return fmt.Errorf("signalling the SSH server of %s: %w", h.Name(), err)
		}
	}
	return nil
}
