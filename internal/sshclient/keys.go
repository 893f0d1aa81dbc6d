// Package sshclient says who we are to an SSH server and which servers we trust: keys from files or an agent, host keys
// from known_hosts. Both are read anew for each connection. It opens no connection but the agent's, and never trusts a
// host key that nobody has vouched for.
package sshclient

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// agentTimeout is how long an agent may take for an answer; one that asks its user takes seconds.
const agentTimeout = 10 * time.Second

// Keys are where the keys are, ours and the servers'. They are safe for concurrent use.
type Keys struct {
	key        string   // empty: the agent's and the user's own
	own        []string // the user's own, used where key is empty
	agent      string   // the agent's socket; empty: none
	knownHosts []string // those that exist are read

	// How messages call the setting that names a key.
	setting string

	mu   sync.Mutex
	list []string // what was offered last, for messages
}

// Open finds out where keys are. An empty key stands for the agent's (SSH_AUTH_SOCK) and the user's own in ~/.ssh,
// empty known hosts for ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts. Setting is what messages call the key's.
func Open(key, knownHosts, setting string) *Keys {
	k := &Keys{key: key, setting: setting, agent: os.Getenv("SSH_AUTH_SOCK")}
	if home, err := os.UserHomeDir(); err == nil {
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			k.own = append(k.own, filepath.Join(home, ".ssh", name))
		}
		k.knownHosts = []string{filepath.Join(home, ".ssh", "known_hosts")}
	}
	k.knownHosts = append(k.knownHosts, "/etc/ssh/ssh_known_hosts")
	if knownHosts != "" {
		k.knownHosts = []string{knownHosts}
	}
	return k
}

// Config says who we are and whom we expect at an address, host:port. done lets go of the agent once the handshake is
// over. The host's key is checked; a *Refusal in the handshake's error says what to do about one that isn't trusted.
func (k *Keys) Config(user, addr string) (_ *ssh.ClientConfig, done func(), _ error) {
	signers, done, err := k.signers()
	if err != nil {
		return nil, nil, err
	}
	check, algorithms, err := k.hostKeys(addr)
	if err != nil {
		done()
		return nil, nil, err
	}
	return &ssh.ClientConfig{
		User:              user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signers...)},
		HostKeyCallback:   check,
		HostKeyAlgorithms: algorithms,
	}, done, nil
}

// Refusal is a server whose key we don't accept, or that doesn't accept ours. It doesn't pass by itself.
type Refusal struct{ error }

// Refused finds the refusal in a handshake's error; nil: it failed otherwise.
func (k *Keys) Refused(err error, user, addr string) *Refusal {
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		return refusal
	case strings.Contains(err.Error(), "unable to authenticate"):
		return &Refusal{fmt.Errorf("%s refused the user %s with every key that was offered (%s): add one to the user's ~/.ssh/authorized_keys there, "+
			"or name another with %s", addr, user, k.offered(), k.setting)}
	}
	return nil
}

// signers are the keys that are offered, with their names noted for messages.
func (k *Keys) signers() (_ []ssh.Signer, done func(), _ error) {
	if k.key != "" {
		s, err := readKey(k.key)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", k.setting, err)
		}
		k.offer([]string{k.key})
		return []ssh.Signer{s}, func() {}, nil
	}
	signers, done, problems := k.agentSigners()
	var names []string
	if len(signers) > 0 {
		names = append(names, fmt.Sprintf("%d of the agent", len(signers)))
	}
	for _, path := range k.own {
		s, err := readKey(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			problems = append(problems, err)
		default:
			signers = append(signers, s)
			names = append(names, path)
		}
	}
	if len(signers) == 0 {
		done()
		why := ""
		if len(problems) > 0 {
			why = " (" + strings.ReplaceAll(errors.Join(problems...).Error(), "\n", "; ") + ")"
		}
		return nil, nil, fmt.Errorf("there is no SSH key to offer%s: name one with %s, start an agent, or make one with ssh-keygen", why, k.setting)
	}
	k.offer(names)
	return signers, done, nil
}

func (k *Keys) offer(names []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = names
}

func (k *Keys) offered() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.list, ", ")
}

func readKey(path string) (ssh.Signer, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := ssh.ParsePrivateKey(pem)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, fmt.Errorf("%s is protected by a passphrase: add it to an agent (ssh-add %s), or name a key without one", path, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// agentSigners are the agent's keys; an agent that doesn't answer is as good as none.
func (k *Keys) agentSigners() ([]ssh.Signer, func(), []error) {
	if k.agent == "" {
		return nil, func() {}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), agentTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", k.agent)
	if err != nil {
		return nil, func() {}, []error{fmt.Errorf("SSH_AUTH_SOCK: %w", err)}
	}
	done := func() { conn.Close() }
	if err := conn.SetDeadline(time.Now().Add(agentTimeout)); err != nil {
		return nil, done, []error{err}
	}
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		return nil, done, []error{fmt.Errorf("the SSH agent at %s: %w", k.agent, err)}
	}
	return signers, done, nil
}

// hostKeys is the check of the server's key, and in which order to ask for its kinds.
func (k *Keys) hostKeys(addr string) (ssh.HostKeyCallback, []string, error) {
	files := slices.DeleteFunc(slices.Clone(k.knownHosts), func(path string) bool {
		_, err := os.Stat(path)
		return errors.Is(err, fs.ErrNotExist)
	})
	db, err := knownhosts.NewDB(files...)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the known hosts: %w", err)
	}
	known := db.HostKeyCallback()
	check := func(hostname string, remote net.Addr, key ssh.PublicKey) error {
		err := known(hostname, remote, key)
		switch {
		case err == nil:
			return nil
		case knownhosts.IsHostKeyChanged(err):
			return &Refusal{fmt.Errorf("the SSH host key of %s is another than the one in %s; the server shows %s. Somebody may be in between. "+
				"If it was changed on purpose: ssh-keygen -R %s -f %s, then add the new one", addr, strings.Join(files, ", "), described(key),
				shellName(addr), k.knownHosts[0])}
		case knownhosts.IsHostUnknown(err):
			return &Refusal{fmt.Errorf("the SSH host key of %s is in none of %s; the server shows %s. Compare that with the output of "+
				"`ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` on the host, then add it: %s >> %s", addr, strings.Join(k.knownHosts, ", "), described(key),
				scan(addr), k.knownHosts[0])}
		}
		return &Refusal{fmt.Errorf("the SSH host key of %s is refused: %w", addr, err)}
	}
	return check, db.HostKeyAlgorithms(addr), nil
}

func described(key ssh.PublicKey) string { return key.Type() + " " + ssh.FingerprintSHA256(key) }

// scan is the command that prints a server's keys.
func scan(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "22" {
		return "ssh-keyscan " + host
	}
	return "ssh-keyscan -p " + port + " " + host
}

// shellName is an address as it is written in known_hosts, for a shell.
func shellName(addr string) string {
	name := knownhosts.Normalize(addr)
	if strings.Contains(name, "[") {
		return "'" + name + "'"
	}
	return name
}
