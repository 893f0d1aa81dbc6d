package spec_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/evenkeel/evenkeel/schema"
)

// TestSchemasTellTheDefaults writes out every default that the schemas tell an editor, and sees that the
// documents mean the same as without.
func TestSchemasTellTheDefaults(t *testing.T) {
	fleet := `{apiVersion: evenkeel.dev/v1, kind: Fleet, metadata: {name: x}, spec: {hosts: [{name: a, endpoint: "unix:///a.sock"}],
		cloudlet: {}, network: {}, dns: {internal: {}}, policy: {allow: {}}, drift: {}, prune: {}}}`
	environment := `{apiVersion: evenkeel.dev/v1, kind: Environment, metadata: {name: x}, spec: {layers: [{name: a, image: b, stop: {},
		security: {}, placement: {}, updatePolicy: {}, healthCheck: {http: {port: p}},
		ports: [{name: p, port: 1}], volumes: [{name: v, path: /v}], files: [{path: /f, content: x}]}]}}`
	before := load(t, fleet, environment)
	writtenFleet, fleetDefaults := withDefaults(t, "fleet", fleet)
	writtenEnvironment, environmentDefaults := withDefaults(t, "environment", environment)
	require.Greater(t, fleetDefaults, 10)
	require.Greater(t, environmentDefaults, 20)
	require.Equal(t, plain(before), plain(load(t, writtenFleet, writtenEnvironment)))
}

// withDefaults writes the defaults of a schema into what there is of a document.
func withDefaults(t *testing.T, kind, document string) (string, int) {
	t.Helper()
	raw, err := schema.JSON(kind)
	require.NoError(t, err)
	var root map[string]any
	require.NoError(t, json.Unmarshal(raw, &root))
	var doc any
	require.NoError(t, yaml.Unmarshal([]byte(document), &doc))
	definitions, count := root["$defs"].(map[string]any), 0
	var write func(within map[string]any, value any)
	write = func(within map[string]any, value any) {
		if ref, ok := within["$ref"].(string); ok {
			write(definitions[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any), value)
		}
		switch v := value.(type) {
		case map[string]any:
			properties, _ := within["properties"].(map[string]any)
			for key, p := range properties {
				property := p.(map[string]any)
				if inner, ok := v[key]; ok {
					write(property, inner)
				} else if d := defaultOf(property, definitions); d != nil {
					v[key] = d
					count++
				}
			}
		case []any:
			for _, item := range v {
				write(within["items"].(map[string]any), item)
			}
		}
	}
	write(root, doc)
	written, err := yaml.Marshal(doc)
	require.NoError(t, err)
	return string(written), count
}

func defaultOf(property, definitions map[string]any) any {
	if d, ok := property["default"]; ok {
		return d
	}
	if ref, ok := property["$ref"].(string); ok {
		return defaultOf(definitions[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any), definitions)
	}
	return nil
}
