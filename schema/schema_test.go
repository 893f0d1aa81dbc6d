package schema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v5"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/schema"
)

func decode(t *testing.T, kind string) map[string]any {
	t.Helper()
	raw, err := schema.JSON(kind)
	require.NoError(t, err)
	var v map[string]any
	require.NoError(t, json.Unmarshal(raw, &v))
	return v
}

func TestSchemasAreSchemas(t *testing.T) {
	for _, kind := range []string{"Fleet", "fleet", "Environment", "ENVIRONMENT", ""} {
		raw, err := schema.JSON(kind)
		require.NoError(t, err)
		compiler := jsonschema.NewCompiler()
		compiler.Draft = jsonschema.Draft2020
		require.NoError(t, compiler.AddResource("x.json", bytes.NewReader(raw)))
		_, err = compiler.Compile("x.json")
		require.NoError(t, err, kind)
	}
	_, err := schema.JSON("Host")
	require.EqualError(t, err, `no schema of "Host": there are fleet and environment`)
}

// TestCombinedSchema holds both kinds against the one schema that editors get for any file.
func TestCombinedSchema(t *testing.T) {
	raw, err := schema.JSON("")
	require.NoError(t, err)
	combined, err := jsonschema.CompileString("x.json", string(raw))
	require.NoError(t, err)
	for kind, spec := range map[string]any{
		"Fleet":       map[string]any{"hosts": []any{map[string]any{"name": "a", "endpoint": "unix:///a"}}},
		"Environment": map[string]any{"layers": []any{map[string]any{"name": "a", "image": "a"}}},
	} {
		doc := map[string]any{"apiVersion": schema.APIVersion, "kind": kind, "metadata": map[string]any{"name": "x"}, "spec": spec}
		require.NoError(t, combined.Validate(doc))
		doc["x"] = 1
		require.Error(t, combined.Validate(doc))
	}
}

// TestSharedDefinitions: the combined schema has one of each, so they must be the same in both.
func TestSharedDefinitions(t *testing.T) {
	fleet, environment := decode(t, "fleet")["$defs"].(map[string]any), decode(t, "environment")["$defs"].(map[string]any)
	shared := 0
	for name, definition := range fleet {
		if other, ok := environment[name]; ok {
			shared++
			require.Equal(t, definition, other, name)
		}
	}
	require.Positive(t, shared)
}

// TestSchemasSayWhatAnEditorNeeds: each key has a description, each object names its keys or takes any text.
func TestSchemasSayWhatAnEditorNeeds(t *testing.T) {
	for _, kind := range []string{"fleet", "environment"} {
		root := decode(t, kind)
		definitions := root["$defs"].(map[string]any)
		var walk func(path string, v any)
		walk = func(path string, v any) {
			m, ok := v.(map[string]any)
			if !ok {
				return
			}
			if properties, ok := m["properties"].(map[string]any); ok {
				require.Contains(t, m, "additionalProperties", "%s%s takes unknown keys", kind, path)
				for key, p := range properties {
					property := p.(map[string]any)
					described := property["description"]
					if ref, ok := property["$ref"].(string); ok && described == nil {
						described = definitions[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)["description"]
					}
					require.NotEmpty(t, described, "%s%s/%s has no description", kind, path, key)
				}
			}
			if m["pattern"] != nil {
				require.NotEmpty(t, m["patternErrorMessage"], "%s%s", kind, path)
			}
			for key, inner := range m {
				walk(path+"/"+key, inner)
			}
		}
		walk("", root)
	}
}

func parse(t *testing.T, text string) schema.Document {
	t.Helper()
	docs, problems := schema.Parse("a.yaml", []byte(text))
	require.Empty(t, problems)
	require.Len(t, docs, 1)
	return docs[0]
}

func TestPlaces(t *testing.T) {
	doc := parse(t, "# c\n---\na:\n  - b: [x, {c.d: 1}]\n")
	n := doc.Root.Get("a").List()[0].Get("b").List()[1]
	require.Equal(t, []int{4, 12}, []int{n.Line, n.Column})
	require.Equal(t, "a[0].b[1]", n.Path())
	require.Equal(t, `a[0].b[1]["c.d"]`, n.Get("c.d").Path())
	require.Nil(t, n.At("no", "such", "key"))
	require.Empty(t, doc.Root.Path())
}

func TestPlacesInLaterDocuments(t *testing.T) {
	docs, problems := schema.Parse("a.yaml", []byte("\xef\xbb\xbfa: 1\r\n--- # two\r\nb:\r\n  c: 2\r\n...\r\n\r\nd: 3\r\n---\r\ntext: |\r\n  x\r\n --- y\r\n"))
	require.Len(t, problems, 1, "the last one: --- in a text must be indented as the text is")
	require.Len(t, docs, 3)
	require.Equal(t, 1, docs[0].Root.Get("a").Line)
	require.Equal(t, 4, docs[1].Root.At("b", "c").Line)
	require.Equal(t, 7, docs[2].Root.Get("d").Line)
	require.GreaterOrEqual(t, problems[0].Line, 9)
}

func TestEncodings(t *testing.T) {
	for text, want := range map[string]string{
		"a: caf\xe9":         "a.yaml:1:7: the byte 0xE9 isn't UTF-8 text (is it Latin-1?): save the file as UTF-8",
		"a: é\nb: \x00":      "a.yaml:2:4: a NUL byte (is it UTF-16, or no text at all?): save the file as UTF-8",
		"\xfe\xff\x00a":      "a.yaml:1:1: the file is UTF-16: save the file as UTF-8",
		"a: é\x1b[31m":       `a.yaml:1:5: the control character 0x1B: remove it, or write it as "\x1B" in double quotes`,
		"\xef\xbb\xbf\xff\n": "a.yaml:1:1: the byte 0xFF isn't UTF-8 text (is it Latin-1?): save the file as UTF-8",
	} {
		_, problems := schema.Parse("a.yaml", []byte(text))
		require.EqualError(t, problems, want)
	}
}

func TestScalars(t *testing.T) {
	doc := parse(t, "t: text\nd: 2026-11-20\nq: '1'\ni: 3\nw: 3.0\nb: true\ny: yes\nn:\ns: !!str 5\n")
	for key, want := range map[string]string{"t": "text", "d": "2026-11-20", "q": "1", "y": "yes", "s": "5"} {
		got, ok := doc.Root.Get(key).Text()
		require.True(t, ok, key)
		require.Equal(t, want, got)
	}
	for _, key := range []string{"i", "w"} {
		got, ok := doc.Root.Get(key).Int()
		require.True(t, ok, key)
		require.EqualValues(t, 3, got)
	}
	b, ok := doc.Root.Get("b").Bool()
	require.True(t, b && ok)
	require.Equal(t, schema.Null, doc.Root.Get("n").Kind)
}

func TestManyProblemsAreCutShort(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: evenkeel.dev/v1\nkind: Environment\nmetadata: {name: x}\nspec:\n  layers: []\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  k%d: 1\n", i)
	}
	problems := schema.Validate(parse(t, b.String()))
	require.Len(t, problems, 101)
	require.Equal(t, "and 901 more problems in this document", problems[100].Message)
}

func TestNearest(t *testing.T) {
	names := []string{"replicas", "dependsOn", "env", "healthCheck", "image", "init", "security"}
	for got, want := range map[string]string{
		"replcas": "replicas", "Replicas": "replicas", "depends_on": "dependsOn", "health-check": "healthCheck", "imgae": "image",
		"environment": "env", "scale": "replicas", "x": "", "": "", "zzzzzz": "", "en": "env", "securty": "security",
		strings.Repeat("replicas", 20): "",
	} {
		require.Equal(t, want, schema.Nearest(got, names), got)
	}
}
