package spec

import (
	"slices"
	"strconv"
	"strings"
)

// DefaultCapabilities are those that every node has, sorted, without CAP_.
var DefaultCapabilities = []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"}

// capabilities of Linux (capabilities(7)), and ALL.
var capabilities = strings.Fields(`ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN
	DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD
	NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT
	SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM`)

// capability is a capability's name as we keep it.
func capability(written string) string {
	return strings.TrimPrefix(strings.ToUpper(written), "CAP_")
}

func isCapability(name string) bool { return slices.Contains(capabilities, name) }

// ulimitNames are those that the engine knows.
var ulimitNames = strings.Fields("core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack")

// signals of Linux (signal(7)) in the order of their numbers, from 1.
var signals = strings.Fields(`SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2
	SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM
	SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS`)

// signal is a signal's name as we keep it: SIGTERM for sigterm, TERM and 15.
func signal(written string) string {
	if number, err := strconv.Atoi(written); err == nil {
		if number >= 1 && number <= len(signals) {
			return signals[number-1]
		}
		return written
	}
	name := strings.ToUpper(written)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	return name
}

// isRealtime says whether a signal is one of those for real time, which have numbers only.
func isRealtime(name string) bool {
	if rest, ok := strings.CutPrefix(name, "SIGRTMIN+"); ok {
		n, err := strconv.Atoi(rest)
		return err == nil && n >= 0 && n <= 15
	}
	if rest, ok := strings.CutPrefix(name, "SIGRTMAX-"); ok {
		n, err := strconv.Atoi(rest)
		return err == nil && n >= 0 && n <= 14
	}
	return name == "SIGRTMIN" || name == "SIGRTMAX"
}
