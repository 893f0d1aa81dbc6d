package schema_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/evenkeel/evenkeel/schema"
)

var update = flag.Bool("update", false, "write the reference of the spec anew")

const referencePath = "../docs/spec.md"

// docs/spec.md is generated from the schemas: `make docs` writes it anew.
func TestReferenceIsFresh(t *testing.T) {
	text := reference(t)
	if *update {
		require.NoError(t, os.WriteFile(referencePath, []byte(text), 0o644))
	}
	have, err := os.ReadFile(referencePath)
	require.NoError(t, err)
	require.Equal(t, text, string(have), "docs/spec.md is stale: run `make docs`")
}

const referenceHead = `# The spec

<!-- Written by ` + "`make docs`" + ` from the schemas themselves. -->

A repository holds one document of kind Fleet and any number of kind Environment, in any YAML files, several to a file where that is
wanted. Passed over are hidden directories, files that a spec names with ` + "`from:`" + `, documents with a ` + "`sops`" + ` key, and what
` + "`.evenkeelignore`" + ` lists. Unknown keys are errors. ` + "`evenkeel validate`" + ` says what is wrong, with file, line and column, and what would be
right; ` + "`evenkeel schema`" + ` prints the JSON Schemas for an editor.

How values are written:

| | |
| --- | --- |
| name | a DNS label: lower-case letters, digits and hyphens, with a letter or digit at both ends, at most 63 characters |
| memory | a number with a unit: Ki, Mi, Gi, Ti (1024) or k, M, G, T (1000) |
| CPU | thousandths of a core, ` + "`200m`" + `, or cores, ` + "`\"1.5\"`" + ` |
| duration | numbers with units: ms, s, m, h; ` + "`30s`" + `, ` + "`1m30s`" + ` |
| file | an absolute path, or one below ` + "`--credentials-dir`" + ` |
`

func reference(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, kind := range []string{"Fleet", "Environment"} {
		raw, err := schema.JSON(kind)
		require.NoError(t, err)
		var doc yaml.Node
		require.NoError(t, yaml.Unmarshal(raw, &doc)) // JSON is YAML, and this keeps the order of keys
		w := &writer{t: t, b: &b, kind: kind, definitions: get(doc.Content[0], "$defs"), written: map[*yaml.Node]bool{}}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", kind, text(doc.Content[0], "description"))
		w.object(doc.Content[0], "")
	}
	return b.String()
}

type writer struct {
	t           *testing.T
	b           *strings.Builder
	kind        string
	definitions *yaml.Node
	written     map[*yaml.Node]bool // objects that have their table
}

// property is one key, with what it refers to resolved.
type property struct {
	name string
	refs []string     // the names of the definitions that it refers to, one through the other
	all  []*yaml.Node // itself, then those definitions
}

// value is what is written of a property, else what is in the definitions that it refers to.
func (p property) value(key string) *yaml.Node {
	for _, n := range p.all {
		if v := get(n, key); v != nil {
			return v
		}
	}
	return nil
}

func (p property) refers(to string) bool { return slices.Contains(p.refs, to) }

func (p property) text(key string) string {
	if v := p.value(key); v != nil {
		return v.Value
	}
	return ""
}

// object writes the table of an object's keys, and then those of the objects in it.
func (w *writer) object(n *yaml.Node, path string) {
	w.written[n] = true
	properties := get(n, "properties")
	required := get(n, "required")
	if path != "" {
		fmt.Fprintf(w.b, "\n### %s: %s\n", w.kind, path)
	}
	w.b.WriteString("\n| Key | Value | Default | |\n| --- | --- | --- | --- |\n")
	var inner []property
	for i := 0; i < len(properties.Content); i += 2 {
		p := w.property(properties.Content[i].Value, properties.Content[i+1])
		require.NotEmpty(w.t, p.text("description"), "%s: %s.%s has no description", w.kind, path, p.name)
		w.row(p, path, required)
		inner = append(inner, p)
	}
	for _, p := range inner {
		at := strings.TrimPrefix(path+"."+p.name, ".")
		if p.value("properties") != nil && !p.refers("from") && !w.written[whole(p)] {
			w.object(whole(p), at)
		}
		if items := p.value("items"); items != nil {
			if of := w.property("", items); of.value("properties") != nil {
				w.object(whole(of), at+"[]")
			}
		}
	}
}

func (w *writer) property(name string, n *yaml.Node) property {
	p := property{name: name, all: []*yaml.Node{n}}
	for ref := text(n, "$ref"); ref != ""; ref = text(n, "$ref") {
		name := strings.TrimPrefix(ref, "#/$defs/")
		n = get(w.definitions, name)
		require.NotNil(w.t, n, ref)
		p.refs, p.all = append(p.refs, name), append(p.all, n)
	}
	return p
}

// whole is the object that a property is.
func whole(p property) *yaml.Node {
	return p.all[slices.IndexFunc(p.all, func(n *yaml.Node) bool { return get(n, "properties") != nil })]
}

func (w *writer) row(p property, path string, required *yaml.Node) {
	is := "optional"
	switch d := p.value("default"); {
	case required != nil && slices.ContainsFunc(required.Content, func(n *yaml.Node) bool { return n.Value == p.name }):
		is = "**required**"
	case strings.Contains(path, ".operations."):
		is = "the layer's"
	case d != nil:
		is = code(d)
	}
	what := p.text("description")
	if e := p.value("examples"); e != nil && p.value("enum") == nil {
		var examples []string
		for _, one := range e.Content {
			examples = append(examples, code(one))
		}
		what += " For example " + strings.Join(examples, ", ") + "."
	}
	if m := p.text("errorMessage"); m != "" && !strings.Contains(what, "exactly one") {
		what += " It " + m + "."
	}
	fmt.Fprintf(w.b, "| `%s` | %s | %s | %s |\n", p.name, w.kindOf(p), is, strings.NewReplacer("|", `\|`, "<", `\<`).Replace(what))
}

// kindOf is what a value has to be, in the words of the table at the beginning.
func (w *writer) kindOf(p property) string {
	for _, ref := range p.refs {
		switch ref {
		case "name", "memory", "duration":
			return ref
		case "cpu":
			return "CPU"
		case "credentialsFile":
			return "file"
		case "environments":
			return "list of names"
		case "path":
			return "absolute path"
		case "command":
			return "text or list of texts"
		case "from":
			return "`{env: NAME}` or `{file: NAME}`"
		}
	}
	if c := p.value("const"); c != nil {
		return code(c)
	}
	if e := p.value("enum"); e != nil {
		var values []string
		for _, v := range e.Content {
			values = append(values, code(v))
		}
		return strings.Join(values, ", ")
	}
	return w.typeOf(p)
}

func (w *writer) typeOf(p property) string {
	kind := p.value("type")
	if kind != nil && kind.Kind == yaml.SequenceNode {
		var kinds []string
		for _, k := range kind.Content {
			if k.Value != "null" {
				kinds = append(kinds, w.named(k.Value, p))
			}
		}
		return strings.Join(kinds, " or ")
	}
	return w.named(p.text("type"), p)
}

func (w *writer) named(kind string, p property) string {
	switch kind {
	case "string":
		return "text"
	case "boolean":
		return "`true`, `false`"
	case "integer", "number":
		if lo, hi := p.text("minimum"), p.text("maximum"); lo != "" && hi != "" {
			return lo + " to " + hi
		}
		if lo := p.text("minimum"); lo != "" {
			return "number from " + lo
		}
		return "number"
	case "array":
		of := w.kindOf(w.property("", p.value("items")))
		if of == "below" {
			return "list, below"
		}
		return "list of " + of + "s"
	case "object":
		if values := p.value("additionalProperties"); values != nil && values.Kind == yaml.MappingNode {
			return "map to " + w.kindOf(w.property("", values))
		}
		if p.value("properties") != nil {
			return "below"
		}
		return "object"
	}
	require.Failf(w.t, "no words for it", "%s: %s", p.name, kind)
	return ""
}

func get(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func text(n *yaml.Node, key string) string {
	if v := get(n, key); v != nil {
		return v.Value
	}
	return ""
}

// code is a value as it is written in YAML, on one line.
func code(n *yaml.Node) string {
	flow(n)
	b, err := yaml.Marshal(n)
	if err != nil {
		panic(err)
	}
	return "`" + strings.TrimSpace(strings.ReplaceAll(string(b), "|", `\|`)) + "`"
}

// flow has a value written on one line, with quotes only where they are needed.
func flow(n *yaml.Node) {
	n.Style = yaml.FlowStyle
	if n.Kind == yaml.ScalarNode {
		n.Style = 0
	}
	for _, c := range n.Content {
		flow(c)
	}
}
