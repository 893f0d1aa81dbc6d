package git

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const someHash = "0123456789abcdef0123456789abcdef01234567"

func TestParseRef(t *testing.T) {
	for _, c := range []struct{ name, content, symbolic, hash, err string }{
		{name: "branch", content: "ref: refs/heads/main\n", symbolic: "refs/heads/main"},
		{name: "without a space", content: "ref:refs/heads/a/b", symbolic: "refs/heads/a/b"},
		{name: "commit", content: someHash + "\n", hash: someHash},
		{name: "empty", content: "", err: "is empty"},
		{name: "blank", content: " \n", err: "is empty"},
		{name: "zeros of a lost block", content: strings.Repeat("\x00", 41), err: "holds no commit"},
		{name: "no commit yet", content: strings.Repeat("0", 40), err: "holds no commit"},
		{name: "cut short", content: someHash[:20], err: "holds no commit"},
		{name: "too long", content: someHash + "ab", err: "holds no commit"},
		{name: "out of refs", content: "ref: refs/../../etc/passwd", err: "names no ref"},
		{name: "elsewhere", content: "ref: objects/x", err: "names no ref"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := parseRef([]byte(c.content))
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.symbolic, v.symbolic)
			if c.hash != "" {
				require.Equal(t, c.hash, v.hash.String())
			}
		})
	}
}

func TestParsePackedRefs(t *testing.T) {
	whole := "# pack-refs with: peeled fully-peeled sorted \n" + someHash + " refs/heads/main\n" + someHash + " refs/tags/v1\n^" + someHash + "\n"
	refs, err := parsePackedRefs(strings.NewReader(whole))
	require.NoError(t, err)
	require.Len(t, refs, 2)
	for name, bad := range map[string]string{
		"cut in a name": whole[:len(whole)-60], "cut in a hash": someHash[:30] + "\n", "zeros": "\x00\x00\x00\n",
		"no name": someHash + "\n", "bad peeled": "^123\n", "bad name": someHash + " refs/heads/a..b\n",
	} {
		_, err := parsePackedRefs(strings.NewReader(bad))
		require.Error(t, err, name)
	}
}

// No prefix of a packed-refs file may read as a whole one with other values, nor, unless it ends with
// a line, as a whole one at all.
func TestACutPackedRefsIsNoticed(t *testing.T) {
	whole := someHash + " refs/heads/main\n" + someHash + " refs/heads/next\n"
	for n := range len(whole) {
		refs, err := parsePackedRefs(strings.NewReader(whole[:n]))
		if n == 0 || whole[n-1] == '\n' {
			require.NoError(t, err)
			continue
		}
		require.Error(t, err, "%q gave %v", whole[:n], refs)
	}
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"ref: refs/heads/main\n", someHash + "\n", "", "ref:", "ref: refs/heads/a.lock"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		v, err := parseRef(content)
		if err != nil {
			return
		}
		if v.symbolic == "" && v.hash.IsZero() {
			t.Fatalf("%q reads as nothing", content)
		}
		if v.symbolic != "" && (!strings.HasPrefix(v.symbolic, "refs/") || strings.Contains(v.symbolic, "..")) {
			t.Fatalf("%q leads out: %q", content, v.symbolic)
		}
	})
}

func FuzzParsePackedRefs(f *testing.F) {
	f.Add([]byte("# pack-refs with: peeled\n" + someHash + " refs/heads/main\n^" + someHash + "\n"))
	f.Add([]byte(someHash + " refs/heads/main"))
	f.Fuzz(func(t *testing.T, content []byte) {
		refs, err := parsePackedRefs(bytes.NewReader(content))
		if err != nil {
			return
		}
		for name, hash := range refs {
			if hash.IsZero() || !validRefName(name) || !bytes.Contains(content, []byte(name)) {
				t.Fatalf("%q gave %q %s", content, name, hash)
			}
		}
	})
}
