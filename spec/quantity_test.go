package spec_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/spec"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]spec.Bytes{
		"1Ki": 1 << 10, "128Mi": 128 << 20, "1Gi": 1 << 30, "1024Mi": 1 << 30, "1.5Gi": 3 << 29, "2Ti": 2 << 40,
		"1k": 1000, "500M": 500e6, "1G": 1e9, "1T": 1e12, "0Mi": 0, "0.0000001Ki": 0, "1024Ti": 1 << 50,
	} {
		got, err := spec.ParseBytes(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "Mi", "128", "128m", "128mi", "128MiB", "-1Mi", "+1Mi", "1e3Mi", ".5Gi", "5.Gi", "1.2.3Gi", "0x1Mi", "1 Gi", "1025Ti", "99999999999999999999999999Ti", "½Gi"} {
		_, err := spec.ParseBytes(text)
		require.Error(t, err, text)
	}
}

func TestParseCPU(t *testing.T) {
	for text, want := range map[string]spec.MilliCPU{"200m": 200, "1": 1000, "1.5": 1500, "0.001": 1, "7": 7000, "0": 0, "0m": 0, "1.50": 1500} {
		got, err := spec.ParseCPU(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "m", "1.5m", "0.0001", "-1", "1e3", "1000001", "1 m", "1k", ".5", "1."} {
		_, err := spec.ParseCPU(text)
		require.Error(t, err, text)
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"0s": 0, "30s": 30 * time.Second, "1m30s": 90 * time.Second, "500ms": 500 * time.Millisecond, "1.5h": 90 * time.Minute} {
		got, err := spec.ParseDuration(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "0", "30", "-1s", "+1s", ".5s", "1d", "s", "1s 2s", "9999999999h"} {
		_, err := spec.ParseDuration(text)
		require.Error(t, err, text)
	}
}

func TestQuantitiesAreReadAsTheyAreWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cpu := spec.MilliCPU(rapid.Int64Range(0, 1_000_000_000).Draw(t, "cpu"))
		again, err := spec.ParseCPU(cpu.String())
		require.NoError(t, err)
		require.Equal(t, cpu, again)

		memory := spec.Bytes(rapid.Int64Range(1, 1<<40).Draw(t, "KiB") << 10)
		read, err := spec.ParseBytes(memory.String())
		require.NoError(t, err)
		require.Equal(t, memory, read)

		d := time.Duration(rapid.Int64Range(0, 100_000_000).Draw(t, "ms")) * time.Millisecond
		parsed, err := spec.ParseDuration(spec.FormatDuration(d))
		require.NoError(t, err)
		require.Equal(t, d, parsed)
	})
	require.Equal(t, "1h", spec.FormatDuration(time.Hour))
	require.Equal(t, "1h0m30s", spec.FormatDuration(time.Hour+30*time.Second))
	require.Equal(t, "10m", spec.FormatDuration(10*time.Minute))
	require.Equal(t, "0s", spec.FormatDuration(0))
	require.Equal(t, "1023", spec.Bytes(1023).String())
}
