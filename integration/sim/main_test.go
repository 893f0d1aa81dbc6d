package sim

import (
	"os"
	"runtime/debug"
	"testing"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(800) // many short lives, and room for all of them
	os.Exit(m.Run())
}
