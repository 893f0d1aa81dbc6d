package spec

import (
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/schema"
)

// Problem is one thing that is wrong in the documents, and where.
type Problem = schema.Problem

// Problems is everything that is wrong, sorted by file and place. It is the error that Load returns.
type Problems = schema.Problems

// reader takes the values out of one document and collects what is wrong with them. Values that the
// schema refuses read as absent, so that one mistake doesn't hide the others.
type reader struct {
	doc      schema.Document
	broken   Problems // what the schema says
	problems Problems // what the rules say
	warnings Problems
}

func newReader(doc document) *reader {
	return &reader{doc: doc.Document, broken: doc.broken}
}

// all returns all problems of the document. A rule has nothing to add about a value that the schema
// refused already.
func (r *reader) all() Problems {
	problems := slices.Clone(r.broken)
	for _, p := range r.problems {
		if !slices.ContainsFunc(r.broken, func(b Problem) bool { return b.Path == p.Path }) {
			problems = append(problems, p)
		}
	}
	return problems
}

func (r *reader) problem(n *schema.Node, format string, args ...any) {
	r.problems = append(r.problems, r.doc.Problem(n, format, args...))
}

// keyProblem is a problem with a key of a map, not with its value.
func (r *reader) keyProblem(e schema.Entry, format string, args ...any) {
	p := r.doc.Problem(e.Value, format, args...)
	p.Line, p.Column = e.Line, e.Column
	r.problems = append(r.problems, p)
}

// missing is a problem with a key that isn't there.
func (r *reader) missing(parent *schema.Node, key, format string, args ...any) {
	p := r.doc.Problem(parent, format, args...)
	p.Path = parent.PathOf(key)
	r.problems = append(r.problems, p)
}

func (r *reader) warn(n *schema.Node, format string, args ...any) {
	r.warnings = append(r.warnings, r.doc.Problem(n, format, args...))
}

// text returns the value of a text, or what stands in for an absent one.
func text(n *schema.Node, otherwise string) string {
	if s, ok := n.Text(); ok {
		return s
	}
	return otherwise
}

func boolean(n *schema.Node, otherwise bool) bool {
	if b, ok := n.Bool(); ok {
		return b
	}
	return otherwise
}

func integer(n *schema.Node, otherwise int) int {
	// Beyond 32 bits the schema has refused it.
	if i, ok := n.Int(); ok && i == int64(int32(i)) {
		return int(i)
	}
	return otherwise
}

// texts returns the texts of a list.
func texts(n *schema.Node) []string {
	var list []string
	for _, item := range n.List() {
		if s, ok := item.Text(); ok {
			list = append(list, s)
		}
	}
	return list
}

// textMap returns the texts of a map; nil where there are none.
func textMap(n *schema.Node) map[string]string {
	var m map[string]string
	for _, e := range n.Map() {
		if s, ok := e.Value.Text(); ok {
			if m == nil {
				m = map[string]string{}
			}
			m[e.Key] = s
		}
	}
	return m
}

// span is what a duration may be, ends included.
type span struct{ from, to time.Duration }

func (r *reader) duration(n *schema.Node, otherwise time.Duration, bounds span) time.Duration {
	s, ok := n.Text()
	if !ok {
		return otherwise
	}
	d, err := ParseDuration(s)
	if err != nil {
		r.problem(n, "%v", err)
		return otherwise
	}
	if d < bounds.from || d > bounds.to {
		r.problem(n, "is %s: must be from %s to %s", s, FormatDuration(bounds.from), FormatDuration(bounds.to))
		return otherwise
	}
	return d
}

// seconds is a duration that is handed on to somebody who knows whole seconds only, and would round it.
func (r *reader) seconds(n *schema.Node, otherwise time.Duration, bounds span) time.Duration {
	d := r.duration(n, otherwise, bounds)
	if d%time.Second != 0 {
		r.problem(n, "is %s: must be whole seconds, such as %s", FormatDuration(d), FormatDuration(d.Truncate(time.Second)))
		return otherwise
	}
	return d
}

func (r *reader) memory(n *schema.Node, otherwise Bytes) Bytes {
	s, ok := n.Text()
	if !ok {
		return otherwise
	}
	b, err := ParseBytes(s)
	if err != nil {
		r.problem(n, "%v", err)
		return otherwise
	}
	return b
}

func (r *reader) cpu(n *schema.Node, otherwise MilliCPU) MilliCPU {
	if n == nil || n.Kind != schema.Text && n.Kind != schema.Number {
		return otherwise
	}
	c, err := ParseCPU(n.Raw)
	if err != nil {
		r.problem(n, "%v", err)
		return otherwise
	}
	return c
}

// unique reports a second item of a list that has the same text, by a function that reads it.
func (r *reader) unique(items []*schema.Node, what string, of func(*schema.Node) *schema.Node) {
	first := map[string]*schema.Node{}
	for _, item := range items {
		n := of(item)
		s, ok := n.Text()
		if !ok {
			continue
		}
		if earlier, taken := first[s]; taken {
			r.problem(n, "the %s %q is here twice, first at line %d: choose another, or remove one", what, s, earlier.Line)
			continue
		}
		first[s] = n
	}
}

func itself(n *schema.Node) *schema.Node { return n }

// name is the node of an entry's name.
func name(n *schema.Node) *schema.Node { return n.Get("name") }
