// Package nameserver runs real authoritative name servers on this machine's loopback, for tests: BIND and Knot, each in a
// directory and on a port of its own, with zones that keys may read and change.
package nameserver

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The keys of each server, of the algorithm hmac-sha256; beside them there is one for each algorithm, of its name, with
// the rights of Full.
const (
	Full      = "evenkeel" // may do what the documentation gives it
	ReadOnly  = "reader"   // may transfer and look up, and change nothing
	WriteOnly = "writer"   // may change, and not transfer
	Admin     = "admin"    // may do everything: tests do with it what others do
)

// Algorithms are those that servers have keys for.
var Algorithms = []string{"hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"}

var keys = append([]string{Full, ReadOnly, WriteOnly, Admin}, Algorithms...)

// algorithm is what a key is for.
func algorithm(key string) string {
	if slices.Contains(Algorithms, key) {
		return key
	}
	return dns.HmacSHA256[:len(dns.HmacSHA256)-1]
}

// Kind is a program that serves zones.
type Kind struct {
	Name      string
	program   string
	debian    string
	signed    bool
	configure func(s *Server) string
	arguments func(s *Server) []string
}

// Kinds are all of them.
var Kinds = []Kind{BIND, Knot}

// Signed is a kind that signs its zones (DNSSEC), a moment after it has begun.
func (k Kind) Signed() Kind {
	k.signed = true
	return k
}

// patience is how long a server may take to begin or end.
const patience = 30 * time.Second

// Server is one that runs.
type Server struct {
	Address string            // 127.0.0.1:port
	Secrets map[string]string // of the keys, in base64

	t     testing.TB
	kind  Kind
	dir   string
	port  int
	zones []string
	log   *os.File
	ended chan struct{}
	pid   *os.Process
}

// Start starts a server with zones that have nothing but their SOA and NS. It ends with the test, or with this process.
func Start(t testing.TB, kind Kind, zones ...string) *Server {
	t.Helper()
	s := &Server{t: t, kind: kind, dir: t.TempDir(), zones: zones, Secrets: map[string]string{}}
	for _, key := range keys {
		secret := make([]byte, 32)
		_, _ = rand.Read(secret) // never fails
		s.Secrets[key] = base64.StdEncoding.EncodeToString(secret)
	}
	for _, zone := range zones {
		s.write(zone+".zone", fmt.Sprintf("$ORIGIN %s.\n$TTL 3600\n@ SOA ns.example.net. admin 1 3600 900 604800 60\n@ NS ns.example.net.\n", zone))
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	s.log = log
	t.Cleanup(s.end)
	for range 5 { // another one may take the port meanwhile
		if s.begin(freePort(t)) {
			return s
		}
		s.Stop()
	}
	t.Fatalf("%s doesn't begin: %s", kind.Name, s.said())
	return nil
}

func (s *Server) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// begin starts the server, and says whether it serves.
func (s *Server) begin(port int) bool {
	s.t.Helper()
	s.port, s.Address = port, net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
	s.write("conf", s.kind.configure(s))
	cmd := exec.Command(s.program(), s.kind.arguments(s)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, s.log, s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begun := make(chan error, 1)
	s.ended = make(chan struct{})
	go func(ended chan struct{}) {
		defer close(ended)
		runtime.LockOSThread() // it would be killed when the thread ends that started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		begun <- err
		if err == nil {
			_ = cmd.Wait() // it is killed in the end
		}
	}(s.ended)
	if err := <-begun; err != nil {
		s.t.Fatalf("starting %s: %v", s.kind.Name, err)
	}
	s.pid = cmd.Process
	return s.serves()
}

// program is the server's own copy of the program: AppArmor, on Ubuntu, lets the installed one read no other directory
// than its own.
func (s *Server) program() string {
	s.t.Helper()
	path, err := exec.LookPath(s.kind.program)
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, s.kind.program))
		}
	}
	if err != nil {
		s.t.Fatalf("%s isn't installed: apt-get install %s (make test does)", s.kind.program, s.kind.debian)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	mine := filepath.Join(s.dir, s.kind.program)
	if _, err := os.Stat(mine); err == nil {
		return mine
	}
	if err := os.WriteFile(mine, program, 0o700); err != nil {
		s.t.Fatal(err)
	}
	return mine
}

// serves waits until all zones are answered for; not longer than the server lives.
func (s *Server) serves() bool {
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		select {
		case <-s.ended:
			return false
		default:
		}
		if !slices.ContainsFunc(s.zones, func(zone string) bool { return !s.answers(zone) }) {
			return true
		}
	}
	return false
}

func (s *Server) answers(zone string) bool {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(zone), dns.TypeSOA)
	answer, _, err := (&dns.Client{Net: "tcp", Timeout: time.Second}).Exchange(m, s.Address)
	return err == nil && answer.Authoritative && len(answer.Answer) == 1
}

// Stop kills the server.
func (s *Server) Stop() {
	s.t.Helper()
	if s.pid == nil {
		return
	}
	_ = s.pid.Kill() // it may have ended
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Errorf("%s doesn't end", s.kind.Name)
	}
	s.pid = nil
}

// Resume starts a server again that was stopped, where it was.
func (s *Server) Resume() {
	s.t.Helper()
	if !s.begin(s.port) {
		s.t.Fatalf("%s doesn't begin again: %s", s.kind.Name, s.said())
	}
}

func (s *Server) end() {
	s.Stop()
	if s.t.Failed() {
		s.t.Logf("the log of %s:\n%s", s.kind.Name, s.said())
	}
	s.log.Close()
}

func (s *Server) said() string {
	f, err := os.Open(s.log.Name())
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	text, _ := io.ReadAll(f) // what could be read is said
	return string(text)
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Change makes changes as somebody else does, in the order of an update: lines of zone files, with a "-" before those
// that go. Names are relative to the zone.
func (s *Server) Change(zone string, lines ...string) {
	s.t.Helper()
	m := new(dns.Msg)
	m.SetUpdate(dns.Fqdn(zone))
	for _, line := range lines {
		text, gone := strings.CutPrefix(line, "-")
		p := dns.NewZoneParser(strings.NewReader(text+"\n"), dns.Fqdn(zone), "")
		p.SetDefaultTTL(3600)
		rr, ok := p.Next()
		if !ok {
			s.t.Fatalf("%q is no record: %v", text, p.Err())
		}
		if gone {
			m.Remove([]dns.RR{rr})
			continue
		}
		m.Insert([]dns.RR{rr})
	}
	m.SetTsig(Admin+".", dns.HmacSHA256, 300, time.Now().Unix())
	client := &dns.Client{Net: "tcp", Timeout: patience, TsigSecret: map[string]string{Admin + ".": s.Secrets[Admin]}}
	answer, _, err := client.Exchange(m, s.Address)
	if err != nil || answer.Rcode != dns.RcodeSuccess {
		s.t.Fatalf("changing %s: %v %v", zone, err, answer)
	}
}

// Records are all that are in a zone but for its SOA, as lines with the TTL in seconds, sorted.
func (s *Server) Records(zone string) []string {
	s.t.Helper()
	var lines []string
	for _, rr := range s.transfer(zone) {
		if rr.Header().Rrtype != dns.TypeSOA {
			lines = append(lines, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	slices.Sort(lines)
	return lines
}

// Serial is the zone's: it grows with each change.
func (s *Server) Serial(zone string) uint32 {
	s.t.Helper()
	return s.transfer(zone)[0].(*dns.SOA).Serial
}

func (s *Server) transfer(zone string) []dns.RR {
	s.t.Helper()
	m := new(dns.Msg)
	m.SetAxfr(dns.Fqdn(zone))
	m.SetTsig(Admin+".", dns.HmacSHA256, 300, time.Now().Unix())
	t := &dns.Transfer{TsigSecret: map[string]string{Admin + ".": s.Secrets[Admin]}, ReadTimeout: patience}
	parts, err := t.In(m, s.Address)
	if err != nil {
		s.t.Fatal(err)
	}
	var all []dns.RR
	for part := range parts {
		if part.Error != nil {
			s.t.Fatalf("reading %s: %v", zone, part.Error)
		}
		all = append(all, part.RR...)
	}
	return all
}
