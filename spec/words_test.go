package spec

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSplitWords(t *testing.T) {
	for text, want := range map[string][]string{
		"":                          {},
		"  ":                        {},
		"serve":                     {"serve"},
		" serve  -v\t-p\n80 ":       {"serve", "-v", "-p", "80"},
		`sh -c "echo 'a b'"`:        {"sh", "-c", "echo 'a b'"},
		`sh -c 'echo "a b"'`:        {"sh", "-c", `echo "a b"`},
		`a\ b c`:                    {"a b", "c"},
		`"a\"b" 'a\b' "a\b" "\$\\"`: {`a"b`, `a\b`, `a\b`, `$\`},
		`""  ''`:                    {"", ""},
		`a"b"'c'`:                   {"abc"},
		`$HOME *`:                   {"$HOME", "*"},
	} {
		got, err := splitWords(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{`'a`, `"a`, `a\`, `"a\"`} {
		_, err := splitWords(text)
		require.Error(t, err, text)
	}
}

func TestSplitWordsUndoesQuoting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOf(rapid.StringMatching(`[a-z '"\\$\n]{0,6}`)).Draw(t, "words")
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		got, err := splitWords(strings.Join(quoted, " "))
		require.NoError(t, err)
		require.Equal(t, append([]string{}, words...), got)
	})
}
