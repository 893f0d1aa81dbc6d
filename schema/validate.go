package schema

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// most is how many problems of one document are listed: beyond that they have one cause.
const most = 100

// Validate holds a document against the schema of its kind, and returns all that is wrong in it.
func Validate(doc Document) Problems {
	var c *compiled
	switch doc.Kind() {
	case KindFleet:
		c = compileFleet()
	case KindEnvironment:
		c = compileEnvironment()
	default:
		return append(Problems{kindProblem(doc)}, doc.Problems...)
	}
	v := &validation{doc: doc, schema: c}
	if err := c.schema.Validate(doc.Root.plain()); err != nil {
		var invalid *jsonschema.ValidationError
		if !errors.As(err, &invalid) {
			return Problems{doc.Problem(doc.Root, "can't be checked: %v", err)}
		}
		v.walk(invalid)
	}
	taken := map[[2]int]bool{}
	for _, p := range v.problems {
		taken[[2]int{p.Line, p.Column}] = true
	}
	v.oddNumbers(doc.Root, taken)
	problems := append(v.problems, doc.Problems...).Sort()
	if more := len(problems) - most; more > 0 {
		problems = append(problems[:most:most], doc.Problem(doc.Root, "and %d more problems in this document", more))
	}
	return problems
}

func kindProblem(doc Document) Problem {
	kinds := []string{KindFleet, KindEnvironment}
	node := doc.Root.Get("kind")
	if node == nil {
		p := doc.Problem(doc.Root, "is missing: write Fleet or Environment")
		p.Path = "kind"
		return p
	}
	return doc.Problem(node, "is %s: must be Fleet or Environment%s", node.describe(), meant(node.Raw, kinds))
}

// validation collects the problems of one document.
type validation struct {
	doc      Document
	schema   *compiled
	problems Problems
}

// walk goes down to the causes. The branches of a oneOf are not gone into: each says why it isn't the
// right one, which helps nobody; the schema says in errorMessage what all of them want.
func (v *validation) walk(e *jsonschema.ValidationError) {
	_, pointer, _ := strings.Cut(e.AbsoluteKeywordLocation, "#")
	keyword := pointer[strings.LastIndexByte(pointer, '/')+1:]
	if len(e.Causes) > 0 && keyword != "oneOf" && keyword != "anyOf" && keyword != "not" {
		for _, cause := range e.Causes {
			v.walk(cause)
		}
		return
	}
	within, _ := v.schema.at(strings.TrimSuffix(pointer, "/"+keyword)).(map[string]any)
	node := v.node(e.InstanceLocation)
	if node == nil || within == nil {
		v.add(v.doc.Root, "%s", e.Message)
		return
	}
	v.failure(keyword, node, within, e.Message)
}

// node finds the node that a JSON pointer names.
func (v *validation) node(pointer string) *Node {
	node := v.doc.Root
	for _, token := range pointerTokens(pointer) {
		switch {
		case node == nil:
			return nil
		case node.Kind == List:
			i := 0
			if _, err := fmt.Sscanf(token, "%d", &i); err != nil || i < 0 || i >= len(node.Items) {
				return nil
			}
			node = node.Items[i]
		default:
			node = node.Get(token)
		}
	}
	return node
}

func (v *validation) add(n *Node, format string, args ...any) {
	v.problems = append(v.problems, v.doc.Problem(n, format, args...))
}

// oddNumbers refuses numbers that YAML's readers don't agree on, where nothing else is wrong.
func (v *validation) oddNumbers(n *Node, taken map[[2]int]bool) {
	if n.odd() && !taken[[2]int{n.Line, n.Column}] {
		v.add(n, "%s", oddMessage(n))
	}
	for _, item := range n.Items {
		v.oddNumbers(item, taken)
	}
	for _, e := range n.Entries {
		v.oddNumbers(e.Value, taken)
	}
}

// pointerTokens splits a JSON pointer as the validator writes it: escaped as in URLs.
func pointerTokens(pointer string) []string {
	pointer = strings.TrimPrefix(pointer, "#")
	if pointer == "" {
		return nil
	}
	tokens := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, token := range tokens {
		if t, err := url.PathUnescape(token); err == nil {
			token = t
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
	}
	return tokens
}
