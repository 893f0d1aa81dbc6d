package spec_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/spec"
)

// The values of a layer that a property draws: what they mean is in them, how they are written is drawn
// when they are rendered.
type (
	text     string
	moment   int // milliseconds
	memory   int // MiB
	set      []any
	sequence []any
	keys     map[string]any
)

// render writes a value as YAML in one of the many ways that mean the same.
func render(t *rapid.T, v any) string {
	gap := func() string {
		return rapid.SampledFrom([]string{"", " ", "\n        ", "  # why\n          "}).Draw(t, "gap")
	}
	switch v := v.(type) {
	case text:
		if rapid.Bool().Draw(t, "single") {
			return "'" + strings.ReplaceAll(string(v), "'", "''") + "'"
		}
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(string(v)) + `"`
	case moment:
		ways := []string{fmt.Sprintf("%dms", v), fmt.Sprintf("%d.%03ds", v/1000, v%1000)}
		if v%60000 == 0 {
			ways = append(ways, fmt.Sprintf("%dm", v/60000), fmt.Sprintf("%dm0s", v/60000))
		}
		return rapid.SampledFrom(ways).Draw(t, "duration")
	case memory:
		return rapid.SampledFrom([]string{fmt.Sprintf("%dMi", v), fmt.Sprintf("%dKi", v*1024), fmt.Sprintf("%.10fGi", float64(v)/1024)}).Draw(t, "memory")
	case set:
		return render(t, sequence(rapid.Permutation(v).Draw(t, "order")))
	case sequence:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = gap() + render(t, item)
		}
		return "[" + strings.Join(items, ",") + gap() + "]"
	case keys:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		items := make([]string, len(v))
		for i, name := range rapid.Permutation(names).Draw(t, "keys") {
			items[i] = gap() + `"` + name + `": ` + render(t, v[name])
		}
		return "{" + strings.Join(items, ",") + gap() + "}"
	default:
		return fmt.Sprint(v)
	}
}

// words are texts with what YAML and JSON have to quote.
var words = rapid.StringMatching(`[a-z0-9 '"\\:#{}<>&é-]{0,8}`)

func drawText(t *rapid.T, label string) text { return text(words.Draw(t, label)) }

// drawLayer draws keys that make a node what it is.
func drawLayer(t *rapid.T) keys {
	layer := keys{"name": text("web"), "image": text("nginx")}
	maybe := func(key string, draw func() any) {
		if rapid.Bool().Draw(t, key) {
			layer[key] = draw()
		}
	}
	numbered := func(n int, item func(i int) any) set {
		var s set
		for i := range rapid.IntRange(0, n).Draw(t, "count") {
			s = append(s, item(i))
		}
		return s
	}
	maybe("env", func() any { return keys{"A": drawText(t, "A"), "B": drawText(t, "B")} })
	maybe("labels", func() any { return keys{"a": drawText(t, "a")} })
	maybe("command", func() any { return sequence{text("sh"), drawText(t, "arg")} })
	maybe("init", func() any { return rapid.Bool().Draw(t, "init") })
	maybe("redeploy", func() any { return drawText(t, "redeploy") })
	maybe("stop", func() any { return keys{"grace": moment(rapid.IntRange(0, 60).Draw(t, "grace") * 1000)} })
	maybe("tmpfs", func() any { return numbered(3, func(i int) any { return text(fmt.Sprintf("/t%d:size=1m", i)) }) })
	maybe("ports", func() any {
		return numbered(3, func(i int) any { return keys{"name": text(fmt.Sprintf("p%d", i)), "port": 80 + i} })
	})
	maybe("volumes", func() any {
		return numbered(3, func(i int) any {
			return keys{"name": text(fmt.Sprintf("v%d", i)), "path": text(fmt.Sprintf("/v%d", i))}
		})
	})
	maybe("files", func() any {
		return numbered(3, func(i int) any { return keys{"path": text(fmt.Sprintf("/f%d", i)), "content": drawText(t, "content")} })
	})
	maybe("security", func() any { return keys{"capabilities": set{text("NET_RAW"), text("SYS_TIME"), text("CHOWN")}} })
	maybe("healthCheck", func() any {
		return keys{"exec": sequence{text("check")}, "interval": moment(rapid.IntRange(1, 120).Draw(t, "interval") * 1000)}
	})
	return layer
}

// drawRest draws keys that don't.
func drawRest(t *rapid.T) keys {
	all := keys{
		"replicas": rapid.IntRange(0, 9).Draw(t, "replicas"), "pull": text("always"), "restart": drawText(t, "restart"),
		"resources": keys{"memory": memory(rapid.IntRange(6, 4096).Draw(t, "memory"))}, "dependsOn": set{text("db")},
		"placement": keys{"antiAffinity": text("required")}, "updatePolicy": keys{"delay": moment(rapid.IntRange(0, 60).Draw(t, "delay") * 1000)},
	}
	rest := keys{}
	for name, value := range all {
		if len(name)%2 == rapid.IntRange(0, 1).Draw(t, "parity") {
			rest[name] = value
		}
	}
	return rest
}

func loadDrawn(t *rapid.T, layer keys) spec.Layer {
	fleet := fleetYAML + "  policy: {allow: {capabilities: [shop]}}\n"
	s := load(t, fleet, "apiVersion: evenkeel.dev/v1\nkind: Environment\nmetadata: {name: shop}\nspec:\n  layers:\n    - "+render(t, layer)+"\n    - {name: db, image: postgres}\n")
	return *s.Environment("shop").Layer("web")
}

func TestHashIsOfTheMeaning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layer := drawLayer(t)
		one, other := loadDrawn(t, layer), loadDrawn(t, layer)
		require.Equal(t, one.Written, other.Written)
		require.Equal(t, one, other)
	})
}

func TestHashIgnoresTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layer := drawLayer(t)
		one := loadDrawn(t, layer)
		for name, value := range drawRest(t) {
			layer[name] = value
		}
		require.Equal(t, one.Hash, loadDrawn(t, layer).Hash)
	})
}

// TestDiffNamesWhatChanged: two layers differ in their hash exactly when Diff names fields, and each field
// is below a key in which they differ.
func TestDiffNamesWhatChanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, other := loadDrawn(t, drawLayer(t)), loadDrawn(t, drawLayer(t))
		changes := spec.Diff(one.Written, other.Written)
		require.Equal(t, one.Hash == other.Hash, len(changes) == 0)
		for _, c := range changes {
			require.NotEqual(t, "spec", c.Field)
			require.NotEqual(t, c.From+"\x00", c.To, "%+v", c)
		}
		require.Len(t, spec.Diff(other.Written, one.Written), len(changes))
	})
}

func TestLoadIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Any keys with any texts: most are wrong, and each time in the same words.
		layer := keys{}
		for _, name := range strings.Fields(`name image pull replicas cloudlets resources placement dependsOn command env tmpfs
			ulimits files volumes ports security healthCheck stop updatePolicy unknown`) {
			if rapid.Bool().Draw(t, "key") {
				layer[name] = rapid.SampledFrom([]any{drawText(t, "text"), 7, true, keys{"a": 1}, sequence{text("x")}}).Draw(t, "value")
			}
		}
		document := "apiVersion: evenkeel.dev/v1\nkind: Environment\nmetadata: {name: shop}\nspec:\n  layers:\n    - " + render(t, layer) + "\n"
		_, err := spec.Load(repositoryWith(document))
		for range 3 {
			_, again := spec.Load(repositoryWith(document))
			require.Equal(t, err, again)
		}
	})
}
