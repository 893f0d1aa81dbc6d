package nameserver

import (
	"fmt"
	"strings"
)

// BIND is named.
var BIND = Kind{
	Name: "BIND", program: "named", debian: "bind9",
	arguments: func(s *Server) []string { return []string{"-g", "-c", s.dir + "/conf", "-n", "1"} },
	configure: func(s *Server) string {
		var b strings.Builder
		fmt.Fprintf(&b, `options {
	directory %q;
	listen-on port %d { 127.0.0.1; };
	listen-on-v6 { none; };
	pid-file none;
	session-keyfile none;
	recursion no;
	dnssec-validation no;
	notify no;
	allow-transfer { none; };
};
controls { };
`, s.dir, s.port)
		for _, key := range keys {
			fmt.Fprintf(&b, "key %q { algorithm %s; secret %q; };\n", key, algorithm(key), s.Secrets[key])
		}
		transfers, grants := "", ""
		for _, key := range Algorithms {
			transfers += fmt.Sprintf("key %s; ", key)
			grants += fmt.Sprintf("grant %s zonesub A TXT; ", key)
		}
		signing := ""
		if s.kind.signed {
			signing = "dnssec-policy default;"
		}
		for _, zone := range s.zones {
			fmt.Fprintf(&b, `zone %q {
	type primary;
	file "%s.zone";
	%s
	allow-transfer { key evenkeel; key reader; key admin; %s};
	update-policy { grant evenkeel zonesub A AAAA CNAME SRV TXT; grant writer zonesub ANY; grant admin zonesub ANY; %s};
};
`, zone, zone, signing, transfers, grants)
		}
		return b.String()
	},
}

// Knot is knotd.
var Knot = Kind{
	Name: "Knot", program: "knotd", debian: "knot",
	arguments: func(s *Server) []string { return []string{"-c", s.dir + "/conf"} },
	configure: func(s *Server) string {
		var b strings.Builder
		fmt.Fprintf(&b, `server:
    rundir: %q
    listen: 127.0.0.1@%d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: %q
    journal-db-max-size: 64M
key:
`, s.dir, s.port, s.dir)
		for _, key := range keys {
			fmt.Fprintf(&b, "  - id: %s\n    algorithm: %s\n    secret: %s\n", key, algorithm(key), s.Secrets[key])
		}
		b.WriteString("acl:\n")
		var acls []string
		for _, a := range []struct{ id, keys, actions string }{
			{Full, Full, "[transfer, update]\n    update-type: [A, AAAA, CNAME, SRV, TXT]"},
			{ReadOnly, ReadOnly, "transfer"}, {WriteOnly, WriteOnly, "update"}, {Admin, Admin, "[transfer, update]"},
			{"algorithms", "[" + strings.Join(Algorithms, ", ") + "]", "[transfer, update]"},
		} {
			fmt.Fprintf(&b, "  - id: %s\n    key: %s\n    action: %s\n", a.id, a.keys, a.actions)
			acls = append(acls, a.id)
		}
		b.WriteString("zone:\n")
		signing := "off"
		if s.kind.signed {
			signing = "on"
		}
		for _, zone := range s.zones {
			fmt.Fprintf(&b, "  - domain: %s\n    storage: %q\n    file: %s.zone\n    zonefile-sync: -1\n    dnssec-signing: %s\n    acl: [%s]\n",
				zone, s.dir, zone, signing, strings.Join(acls, ", "))
		}
		return b.String()
	},
}
