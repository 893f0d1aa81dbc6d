package spec

import (
	"path"
	"strings"
)

// ignore holds the rules of the ignore files met so far, in gitignore's syntax: the last rule that
// matches decides. A directory that is ignored isn't gone into, so nothing below it comes back.
type ignore struct {
	rules []ignoreRule
}

type ignoreRule struct {
	dir      []string // of the file that the rule is in
	segments []string // of the pattern
	anywhere bool     // matches at any depth below dir
	onlyDirs bool
	negated  bool
}

// add reads the rules of a directory's ignore file.
func (g *ignore) add(dir, text string) {
	var in []string
	if dir != "." {
		in = strings.Split(dir, "/")
	}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimPrefix(strings.TrimSuffix(line, "\r"), "\ufeff")
		if trimmed := strings.TrimRight(line, " \t"); !strings.HasSuffix(trimmed, `\`) {
			line = trimmed
		}
		if line == "" || line[0] == '#' {
			continue
		}
		rule := ignoreRule{dir: in}
		line, rule.negated = strings.CutPrefix(line, "!")
		line, rule.onlyDirs = strings.CutSuffix(line, "/")
		rule.anywhere = !strings.Contains(line, "/")
		line = strings.TrimPrefix(line, "/")
		if line == "" {
			continue
		}
		for segment := range strings.SplitSeq(line, "/") {
			rule.segments = append(rule.segments, strings.ReplaceAll(segment, "[!", "[^"))
		}
		g.rules = append(g.rules, rule)
	}
}

// match says whether a file or directory is ignored.
func (g *ignore) match(name string, isDir bool) bool {
	segments := strings.Split(name, "/")
	for i := len(g.rules) - 1; i >= 0; i-- {
		if g.rules[i].match(segments, isDir) {
			return !g.rules[i].negated
		}
	}
	return false
}

func (r ignoreRule) match(name []string, isDir bool) bool {
	if r.onlyDirs && !isDir || len(name) <= len(r.dir) {
		return false
	}
	for i, segment := range r.dir {
		if name[i] != segment {
			return false
		}
	}
	name = name[len(r.dir):]
	if r.anywhere {
		return matchSegment(r.segments[0], name[len(name)-1])
	}
	return matchSegments(r.segments, name)
}

// matchSegments matches a pattern with slashes; ** stands for any number of directories, at the end for
// everything inside. It fills a table rather than trying all ways, which could take for ever.
func matchSegments(pattern, name []string) bool {
	matched := make([]bool, len(name)+1) // matched[j]: the pattern so far matches the first j segments
	matched[0] = true
	for i, segment := range pattern {
		next := make([]bool, len(name)+1)
		for j := range next {
			switch {
			case segment != "**":
				next[j] = j > 0 && matched[j-1] && matchSegment(segment, name[j-1])
			case i == len(pattern)-1:
				next[j] = j > 0 && (matched[j-1] || next[j-1])
			default:
				next[j] = matched[j] || j > 0 && next[j-1]
			}
		}
		matched = next
	}
	return matched[len(name)]
}

func matchSegment(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok // a pattern that isn't one matches nothing, as in git
}
