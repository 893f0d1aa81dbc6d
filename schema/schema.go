// Package schema holds the JSON Schemas of the language that users write, and says where in a file a
// document breaks them. It decides which keys there are and what type each value has; what a schema
// can't say is decided by package spec. It reads bytes that it is given, never a file.
package schema

import (
	"bytes"
	_ "embed" // the schemas
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// The kinds of documents that there are schemas for.
const (
	KindFleet       = "Fleet"
	KindEnvironment = "Environment"
)

// APIVersion is what every document has as its apiVersion.
const APIVersion = "evenkeel.dev/v1"

//go:embed fleet.json
var fleetJSON []byte

//go:embed environment.json
var environmentJSON []byte

// JSON returns the JSON Schema of a kind, its name written in any case; for no kind, one schema of
// both, for an editor that doesn't know which of them a file holds.
func JSON(kind string) ([]byte, error) {
	switch strings.ToLower(kind) {
	case "fleet":
		return bytes.Clone(fleetJSON), nil
	case "environment":
		return bytes.Clone(environmentJSON), nil
	case "":
		return combined()
	}
	return nil, fmt.Errorf("no schema of %q: there are fleet and environment", kind)
}

// combined makes one schema of both kinds. References inside each stay as they are, so definitions
// that both have must be the same; a test holds them to it.
func combined() ([]byte, error) {
	definitions := map[string]any{}
	var kinds []any
	for _, s := range []struct {
		kind string
		raw  []byte
	}{{KindFleet, fleetJSON}, {KindEnvironment, environmentJSON}} {
		var body map[string]any
		if err := json.Unmarshal(s.raw, &body); err != nil {
			return nil, fmt.Errorf("reading the schema of %s: %w", s.kind, err)
		}
		if inner, ok := body["$defs"].(map[string]any); ok {
			for name, definition := range inner {
				definitions[name] = definition
			}
		}
		delete(body, "$defs")
		delete(body, "$id")
		delete(body, "$schema")
		definitions[s.kind] = body
		kinds = append(kinds, map[string]any{"$ref": "#/$defs/" + s.kind})
	}
	return json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "evenkeel",
		"oneOf":   kinds,
		"$defs":   definitions,
	}, "", "  ")
}

// compiled is a schema ready for use, and its text to word messages from.
type compiled struct {
	schema *jsonschema.Schema
	raw    map[string]any
}

var compileFleet = sync.OnceValue(func() *compiled { return compile("fleet.json", fleetJSON) })

var compileEnvironment = sync.OnceValue(func() *compiled { return compile("environment.json", environmentJSON) })

// compile panics on a schema that isn't one: it is part of the program, and every test compiles it.
// Definitions are put where they are referred to: each reference costs the validator as much as a value.
func compile(name string, raw []byte) *compiled {
	var written map[string]any
	if err := json.Unmarshal(raw, &written); err != nil {
		panic(fmt.Sprintf("schema: %s: %v", name, err))
	}
	definitions, _ := written["$defs"].(map[string]any)
	delete(written, "$defs")
	delete(written, "$id")
	c := &compiled{}
	c.raw, _ = inline(written, definitions).(map[string]any)
	flat, err := json.Marshal(c.raw)
	if err != nil {
		panic(fmt.Sprintf("schema: %s: %v", name, err))
	}
	compiler := jsonschema.NewCompiler()
	compiler.Draft = jsonschema.Draft2020
	if err := compiler.AddResource(name, bytes.NewReader(flat)); err != nil {
		panic(fmt.Sprintf("schema: %s: %v", name, err))
	}
	c.schema = compiler.MustCompile(name)
	return c
}

// inline returns a schema with its references resolved; what is written beside a reference counts more.
func inline(value any, definitions map[string]any) any {
	switch v := value.(type) {
	case map[string]any:
		flat := map[string]any{}
		if ref, ok := v["$ref"].(string); ok {
			definition, ok := definitions[strings.TrimPrefix(ref, "#/$defs/")]
			if !ok {
				panic("schema: there is no definition " + ref)
			}
			if inner, ok := inline(definition, definitions).(map[string]any); ok {
				maps.Copy(flat, inner)
			}
		}
		for key, inner := range v {
			if key != "$ref" {
				flat[key] = inline(inner, definitions)
			}
		}
		return flat
	case []any:
		flat := make([]any, len(v))
		for i, inner := range v {
			flat[i] = inline(inner, definitions)
		}
		return flat
	}
	return value
}

// places lists the objects that have a key, such as spec.layers[].
func (c *compiled) places(key string) []string {
	var places []string
	var walk func(within map[string]any, path string)
	walk = func(within map[string]any, path string) {
		properties, _ := within["properties"].(map[string]any)
		if _, ok := properties[key]; ok {
			places = append(places, path)
		}
		for _, name := range sortedKeys(properties) {
			if inner, ok := properties[name].(map[string]any); ok {
				walk(inner, strings.TrimPrefix(path+"."+name, "."))
			}
		}
		if items, ok := within["items"].(map[string]any); ok {
			walk(items, path+"[]")
		}
	}
	walk(c.raw, "")
	return places
}

// at returns the part of the schema that a JSON pointer names, or nil.
func (c *compiled) at(pointer string) any {
	var value any = c.raw
	for _, token := range pointerTokens(pointer) {
		switch v := value.(type) {
		case map[string]any:
			value = v[token]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}
