package spec

import (
	"cmp"
	"fmt"
	"io/fs"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/evenkeel/evenkeel/schema"
)

// Load reads the documents below a root: one Fleet and any number of Environments. It returns the
// whole revision, valid and with defaults filled in, or everything that is wrong with it as Problems.
func Load(files fs.FS) (*Spec, error) { return new(Loader).Load(files) }

// Loader loads one revision after the other. It remembers what the files of the last one say, so that only
// those that changed are parsed again. The zero Loader is ready for use, also side by side.
type Loader struct {
	mu     sync.Mutex
	parsed map[digest]*file // of the last loading
}

// Load is as the function of that name.
func (of *Loader) Load(files fs.FS) (*Spec, error) {
	of.mu.Lock()
	defer of.mu.Unlock()
	l := &loader{files: files, known: of.parsed, parsed: map[digest]*file{}}
	l.discover()
	of.parsed = l.parsed
	l.read()
	if len(l.problems) > 0 {
		return nil, l.problems.Sort()
	}
	s := &Spec{Fleet: *l.fleet, Warnings: l.warnings.Sort()}
	for _, e := range l.environments {
		s.Environments = append(s.Environments, *e.env)
	}
	slices.SortFunc(s.Environments, func(a, b Environment) int { return cmp.Compare(a.Name, b.Name) })
	return s, nil
}

// loader holds one loading.
type loader struct {
	files    fs.FS
	reading  sync.Mutex // a file system need not be safe for use side by side
	known    map[digest]*file
	parsed   map[digest]*file
	docs     []document
	problems Problems
	warnings Problems

	fleet        *Fleet
	fleetReader  *reader
	environments []*environmentReader
}

// read turns the documents into the fleet and its environments, and checks them against each other.
func (l *loader) read() {
	var fleets, environments []document
	for _, doc := range l.docs {
		switch doc.Kind() {
		case KindFleet:
			fleets = append(fleets, doc)
		case KindEnvironment:
			environments = append(environments, doc)
		default:
			l.problems = append(l.problems, doc.broken...)
		}
	}
	l.readFleet(fleets)
	l.environments = make([]*environmentReader, len(environments))
	sideBySide(len(environments), func(i int) { l.environments[i] = l.readEnvironment(environments[i]) })
	l.uniqueEnvironments()
	l.finish()
	for _, e := range l.environments {
		l.problems = append(l.problems, e.all()...)
		l.warnings = append(l.warnings, e.warnings...)
	}
	if l.fleetReader != nil {
		l.problems = append(l.problems, l.fleetReader.all()...)
		l.warnings = append(l.warnings, l.fleetReader.warnings...)
	}
}

// sideBySide does work on all processors. It has no outside to wait for, and what goes wrong is in what it
// is done to. As many goroutines as processors do it all: a new one first has to grow its stack.
func sideBySide(n int, do func(i int)) {
	var workers sync.WaitGroup
	var next atomic.Int64
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	workers.Wait()
}

func (l *loader) readFleet(docs []document) {
	if len(docs) == 0 {
		// A Fleet in a file that can't be read isn't missing.
		if len(l.problems) == 0 {
			l.problems = append(l.problems, Problem{Message: "no document of kind Fleet: write one, with the hosts and a name (see `evenkeel schema fleet`)"})
		}
		return
	}
	first := docs[0]
	for _, doc := range docs[1:] {
		p := doc.Problem(doc.Root, "a second Fleet, the first is at %s:%d: a repository holds exactly one", first.File, first.Root.Line)
		l.problems = append(l.problems, p)
		l.problems = append(l.problems, doc.broken...)
	}
	l.fleetReader = newReader(first)
	l.fleet = readFleet(l.fleetReader)
}

// uniqueEnvironments refuses a second environment of the same name.
func (l *loader) uniqueEnvironments() {
	first := map[string]*environmentReader{}
	for _, e := range l.environments {
		if e.env.Name == "" {
			continue
		}
		if earlier, taken := first[e.env.Name]; taken {
			e.problem(e.doc.Root.At("metadata", "name"), "a second environment %q, the first is at %s: choose another name", e.env.Name, earlier.env.Source)
			continue
		}
		first[e.env.Name] = e
	}
}

// finish checks what lies between documents. What depends on the fleet is only checked against one that
// is itself right: else its mistakes would be reported again at every layer.
func (l *loader) finish() {
	if l.fleet == nil || len(l.fleetReader.all()) > 0 {
		return
	}
	for _, e := range l.environments {
		e.against(l.fleet)
	}
	l.clashes()
	l.externalClashes()
	l.poolSize()
	l.allowed()
}

// poolSize refuses more environments than the pool has networks for.
func (l *loader) poolSize() {
	rooms := 1 << (environmentBits - l.fleet.Network.Pool.Bits())
	if len(l.environments) <= rooms {
		return
	}
	n := l.fleetReader.doc.Root.At("spec", "network", "pool")
	message := fmt.Sprintf("holds networks for %d of the %d environments, a /%d each: write a larger pool", rooms, len(l.environments), environmentBits)
	if n == nil {
		l.fleetReader.missing(l.fleetReader.doc.Root.Get("spec"), "network", "the pool %s %s", l.fleet.Network.Pool, message)
		return
	}
	l.fleetReader.problem(n, "%s", message)
}

// allowed warns of permissions for environments that there aren't.
func (l *loader) allowed() {
	var names []string
	for _, e := range l.environments {
		names = append(names, e.env.Name)
	}
	allow := l.fleetReader.doc.Root.At("spec", "policy", "allow")
	for _, e := range allow.Map() {
		for _, n := range e.Value.List() {
			if name := text(n, ""); !slices.Contains(names, name) {
				l.fleetReader.warn(n, "there is no environment %q%s", name, didYouMean(name, names))
			}
		}
	}
}

// environmentBits is the size of an environment's network.
const environmentBits = 22

// defaultPool keeps clear of what clouds, Kubernetes, Docker and homes use.
var defaultPool = netip.MustParsePrefix("10.112.0.0/12")

// didYouMean returns `; did you mean "x"?`, or nothing where no name is near.
func didYouMean(got string, names []string) string {
	if name := schema.Nearest(got, names); name != "" {
		return fmt.Sprintf("; did you mean %q?", name)
	}
	return ""
}

// list joins words for a reader.
func list(words []string) string { return strings.Join(words, ", ") }
