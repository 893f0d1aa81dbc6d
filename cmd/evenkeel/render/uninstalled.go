package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler"
)

// UninstalledJSON writes what was removed for programs.
func UninstalledJSON(w io.Writer, u reconciler.Uninstalled) error { return JSON(w, filled(u)) }

// UninstalledText writes what was removed for people, and which volumes are still there.
func UninstalledText(w io.Writer, u reconciler.Uninstalled) error {
	var b strings.Builder
	b.WriteString(uninstalledHead(u) + "\n")
	if len(u.Kept) > 0 {
		b.WriteString("Volumes kept, with what is in them (--volumes removes them too):\n")
		t := table{indent: "  "}
		for _, k := range u.Kept {
			t.add(clean(k.Host), clean(k.Volume))
		}
		b.WriteString(t.String())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// UninstalledMarkdown writes what was removed as a comment.
func UninstalledMarkdown(w io.Writer, u reconciler.Uninstalled) error {
	var b strings.Builder
	b.WriteString("### evenkeel uninstall\n\n" + uninstalledHead(u) + "\n")
	if len(u.Kept) > 0 {
		b.WriteString("\n| Host | Volume kept |\n| --- | --- |\n")
		for _, k := range u.Kept {
			b.WriteString(row(code(k.Host), code(k.Volume)))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func uninstalledHead(u reconciler.Uninstalled) string {
	records := ""
	if u.Records > 0 {
		records = ", " + counted(u.Records, "external record")
	}
	return fmt.Sprintf("Removed of fleet %s: %s, %s, %s, %s%s; %s cleared.", clean(u.Fleet), counted(u.Nodes, "node"),
		counted(u.Networks, "network"), counted(u.Keepers, "keeper"), counted(u.Volumes, "volume"), records, counted(u.Hosts, "host"))
}
