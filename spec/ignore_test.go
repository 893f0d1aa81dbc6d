package spec

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestIgnore(t *testing.T) {
	for _, tc := range []struct {
		rules, name string
		isDir, want bool
	}{
		{"values.yaml", "values.yaml", false, true},
		{"values.yaml", "a/b/values.yaml", false, true},
		{"/values.yaml", "a/values.yaml", false, false},
		{"a/values.yaml", "a/values.yaml", false, true},
		{"a/values.yaml", "b/a/values.yaml", false, false},
		{"**/a/values.yaml", "b/a/values.yaml", false, true},
		{"**/a/values.yaml", "a/values.yaml", false, true},
		{"a/**", "a/b/c.yaml", false, true},
		{"a/**", "a", true, false},
		{"a/**/c.yaml", "a/c.yaml", false, true},
		{"a/**/c.yaml", "a/x/y/c.yaml", false, true},
		{"*.yml", "a/x.yml", false, true},
		{"charts/", "charts", true, true},
		{"charts/", "charts", false, false},
		{"v?.yaml", "v1.yaml", false, true},
		{"v[0-9].yaml", "v1.yaml", false, true},
		{"v[!0-9].yaml", "v1.yaml", false, false},
		{"v[.yaml", "v[.yaml", false, false},
		{"*.yaml\n!shop.yaml", "shop.yaml", false, false},
		{"!shop.yaml\n*.yaml", "shop.yaml", false, true},
		{"# *.yaml", "x.yaml", false, false},
		{`\#x.yaml`, "#x.yaml", false, true},
		{"x.yaml   ", "x.yaml", false, true},
		{"x.yaml\r", "x.yaml", false, true},
		{"/", "x.yaml", false, false},
		{"", "x.yaml", false, false},
	} {
		var g ignore
		g.add(".", tc.rules)
		require.Equal(t, tc.want, g.match(tc.name, tc.isDir), "%q for %s", tc.rules, tc.name)
	}
}

func TestIgnoreBelowADirectory(t *testing.T) {
	var g ignore
	g.add(".", "*.yaml")
	g.add("a/b", "!keep.yaml\n/only.yml")
	require.True(t, g.match("keep.yaml", false))
	require.False(t, g.match("a/b/keep.yaml", false))
	require.False(t, g.match("a/b/c/keep.yaml", false))
	require.True(t, g.match("a/b/only.yml", false))
	require.False(t, g.match("a/b/c/only.yml", false))
	require.False(t, g.match("only.yml", false))
}

func TestIgnoreEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g ignore
		g.add(".", strings.Repeat("**/", rapid.IntRange(0, 40).Draw(t, "stars"))+rapid.StringMatching(`[a*/!?\[\]-]{0,20}`).Draw(t, "pattern"))
		g.match(strings.Repeat("a/", 40)+rapid.StringMatching(`[ab]{0,20}`).Draw(t, "name"), false)
	})
}
