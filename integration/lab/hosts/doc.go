// Package hosts starts real Docker hosts on this machine for tests, breaks
// them on purpose, and takes them away without a trace.
//
// A host is a set of Linux namespaces (process, mount, network, host name,
// IPC) with an address and a dockerd of its own. The engine runs with its
// default paths, on its own disk (a tmpfs), so that nothing but the kernel
// and the programs is shared with the machine. The machine's own engine is
// never touched. All hosts hang on one bridge, the fabric; the test process
// is on it too, with the address that [Lab.Manager] returns. No packet
// leaves the fabric.
//
// # Use
//
// One lab for a test:
//
//	lab := hosts.Start(t, 3)
//	h := lab.Host(1)          // "h1"
//	h.Endpoint()              // tcp://10.232.0.11:2375
//	h.Socket()                // path of its docker.sock, as seen from here
//
// One lab for all tests of a package:
//
//	func TestMain(m *testing.M) {
//		os.Exit(func() int {
//			var err error
//			if lab, err = hosts.New(context.Background(), 3); err != nil {
//				fmt.Fprintln(os.Stderr, err)
//				return 1
//			}
//			defer lab.Close()
//			return m.Run()
//		}())
//	}
//
// Faults, each with its counterpart: [Host.Cut] and [Host.Heal] (the cable),
// [Host.Drop] and [Host.Undrop] (only between this process and the host; the
// hosts still see each other), [Host.StopEngine] or [Host.KillEngine] and
// [Host.StartEngine], [Host.HangEngine] and [Host.ResumeEngine],
// [Host.PowerOff] and [Host.PowerOn] (the disk is kept).
//
// Work on a host: [Host.Exec] and [Host.Command] in all of its namespaces,
// [Host.NetCommand], [Host.DialContext], [Host.Listen] and [Host.InNetwork]
// in its network only, which is how a test reaches the containers' own
// addresses.
//
// Images: package integration/lab/image makes one from a static binary;
// [Host.Load] and [Lab.Load] put it on hosts. Its registry listens at
// [Lab.Manager], which the engines take as an insecure registry.
//
// # What it needs
//
// Linux, root, and the programs of the Debian packages docker.io, iproute2,
// iptables, util-linux and coreutils; [New] names what is missing.
//
// # Nothing is left behind
//
// The importing program runs itself again for two purposes, which this
// package's init function recognises by an environment variable: as the
// first process of a host, until that becomes docker-init, and as the watcher
// of a lab. The watcher holds the read end of a pipe, whose write end is only
// in the owner, and so learns of the owner's death, however it dies. Both hold
// the lab's lock file: a lab whose lock nobody holds is a leftover of a dead
// owner and a dead watcher, and the next [New] removes it.
package hosts
