package spec

import (
	"cmp"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/schema"
)

// maxFile is the largest file that is put into a node.
const maxFile = 4 << 20

// mounted is a path of the node that something is put at.
type mounted struct {
	path string
	what string
	node *schema.Node
}

// storage reads what is put into a node's file system: files, volumes, tmpfs and paths of the host.
func (l *layerReader) storage(loader *loader) {
	var mounts []mounted
	l.layer.Volumes, mounts = l.volumes(l.node.Get("volumes"))
	for _, n := range l.node.Get("tmpfs").List() {
		written, ok := n.Text()
		if !ok {
			continue
		}
		dir, _, _ := strings.Cut(written, ":")
		if l.cleanPath(n, dir) {
			mounts = append(mounts, mounted{dir, "a tmpfs", n})
		}
		l.layer.Tmpfs = append(l.layer.Tmpfs, written)
	}
	slices.Sort(l.layer.Tmpfs)
	for _, n := range l.node.At("security", "hostPaths").List() {
		if target, ok := n.Get("target").Text(); ok && l.cleanPath(n.Get("target"), target) {
			mounts = append(mounts, mounted{target, "a path of the host", n.Get("target")})
		}
	}
	for _, item := range l.node.Get("files").List() {
		file := l.file(item, loader)
		if n := item.Get("path"); file.Path != "" && l.cleanPath(n, file.Path) {
			mounts = append(mounts, mounted{file.Path, "a file", n})
		}
		l.layer.Files = append(l.layer.Files, file)
	}
	slices.SortFunc(l.layer.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	l.collisions(mounts)
}

// collisions refuses two things at one path, and things below a file.
func (l *layerReader) collisions(mounts []mounted) {
	first := map[string]mounted{}
	for _, m := range mounts {
		if other, taken := first[m.path]; taken {
			l.problem(m.node, "%s is %s already (line %d): choose another path, or remove one", m.path, other.what, other.node.Line)
			continue
		}
		first[m.path] = m
	}
	for _, m := range mounts {
		for dir := path.Dir(m.path); dir != "/" && dir != "."; dir = path.Dir(dir) {
			if other, ok := first[dir]; ok && other.what == "a file" {
				l.problem(m.node, "%s lies below %s, which is a file (line %d): choose another path", m.path, dir, other.node.Line)
				break
			}
		}
	}
}

// cleanPath checks a path in a node, and says whether it is one.
func (l *layerReader) cleanPath(n *schema.Node, written string) bool {
	switch clean := path.Clean("/" + written); {
	case !path.IsAbs(written):
		l.problem(n, "%q is a relative path: write an absolute one", written)
	case strings.ContainsFunc(written, func(r rune) bool { return r < ' ' || r == 0x7f }):
		l.problem(n, "%q holds a control character: remove it", written)
	case clean == "/":
		l.problem(n, "%q is the whole file system: write a path inside it", written)
	case clean != written:
		l.problem(n, "%q isn't written plainly: write %s", written, clean)
	case len(written) > 4095:
		l.problem(n, "the path has %d characters, and Linux allows 4095", len(written))
	default:
		for _, own := range []string{"/proc", "/sys", "/dev"} {
			if within, ok := strings.CutPrefix(written, own); ok && (within == "" || within[0] == '/') && written != "/dev/shm" {
				l.problem(n, "%s belongs to the kernel: choose a path that isn't below %s", written, own)
				return false
			}
		}
		return true
	}
	return false
}

func (l *layerReader) volumes(n *schema.Node) ([]Volume, []mounted) {
	l.unique(n.List(), "volume", name)
	var volumes []Volume
	var mounts []mounted
	for _, item := range n.List() {
		v := Volume{
			Name:     text(item.Get("name"), ""),
			Path:     text(item.Get("path"), ""),
			OnRemove: OnRemove(text(item.Get("onRemove"), string(OnRemoveKeep))),
		}
		if at := item.Get("path"); v.Path != "" && l.cleanPath(at, v.Path) {
			mounts = append(mounts, mounted{v.Path, "the volume " + v.Name, at})
		}
		volumes = append(volumes, v)
	}
	slices.SortFunc(volumes, func(a, b Volume) int { return cmp.Compare(a.Name, b.Name) })
	return volumes, mounts
}

func (l *layerReader) file(n *schema.Node, loader *loader) File {
	f := File{Path: text(n.Get("path"), ""), Mode: 0o644}
	if mode, err := strconv.ParseUint(text(n.Get("mode"), "0644"), 8, 32); err == nil {
		f.Mode = uint32(mode)
	}
	content, from := n.Get("content"), n.Get("from")
	switch {
	case content != nil && from != nil:
		l.problem(from, "from and content say the same in two ways: remove one")
	case content == nil && from == nil:
		l.missing(n, "from", "is missing: write from: with a file of the repository, or content: with the text itself")
	case content != nil:
		f.Content = []byte(text(content, ""))
	case from.Kind == schema.Text:
		f.Content = l.content(from, loader)
	}
	return f
}

// content reads the file that `from:` names.
func (l *layerReader) content(n *schema.Node, loader *loader) []byte {
	target, err := resolve(l.doc.File, n.Raw)
	if err == nil && target == l.doc.File {
		l.problem(n, "a specification can't be its own content: name another file")
		return nil
	}
	if err != nil {
		l.problem(n, "%v", err)
		return nil
	}
	data, err := loader.readFile(target, maxFile+1)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.problem(n, "there is no file %s in the repository: write a path relative to the directory of this file", target)
	case err != nil:
		l.problem(n, "%s %v: name a file that can be read", target, err)
	case len(data) > maxFile:
		l.problem(n, "the file %s has more than %d MiB: put it into the image or a volume", target, maxFile>>20)
	}
	return data
}

func (l *layerReader) security(n *schema.Node) Security {
	s := Security{
		Privileged: boolean(n.Get("privileged"), false),
		ReadOnly:   boolean(n.Get("readOnly"), false),
	}
	for _, item := range n.Get("capabilities").List() {
		written, ok := item.Text()
		if !ok {
			continue
		}
		name := capability(written)
		switch {
		case !isCapability(name):
			l.problem(item, "there is no capability %q%s", written, didYouMean(name, capabilities))
		case slices.Contains(s.Capabilities, name):
			l.problem(item, "the capability %s is here twice: remove one", name)
		default:
			s.Capabilities = append(s.Capabilities, name)
		}
	}
	slices.Sort(s.Capabilities)
	for _, item := range n.Get("hostPaths").List() {
		h := HostPath{
			Source:   text(item.Get("source"), ""),
			Target:   text(item.Get("target"), ""),
			ReadOnly: boolean(item.Get("readOnly"), false),
		}
		if at := item.Get("source"); path.IsAbs(h.Source) && path.Clean(h.Source) != h.Source {
			l.problem(at, "%q isn't written plainly: write %s", h.Source, path.Clean(h.Source))
		}
		s.HostPaths = append(s.HostPaths, h)
	}
	slices.SortFunc(s.HostPaths, func(a, b HostPath) int { return cmp.Compare(a.Target, b.Target) })
	return s
}

// writable refuses files where the engine refuses them: with a read-only root file system, or below a
// tmpfs, which is only there once the node runs. Inside a volume both work.
func (l *layerReader) writable() {
	for _, item := range l.node.Get("files").List() {
		n := item.Get("path")
		name, ok := n.Text()
		if !ok {
			continue
		}
		volume, tmpfs := "", ""
		for _, v := range l.layer.Volumes {
			if below(name, v.Path) && len(v.Path) > len(volume) {
				volume = v.Path
			}
		}
		for _, t := range l.layer.Tmpfs {
			if dir, _, _ := strings.Cut(t, ":"); below(name, dir) && len(dir) > len(tmpfs) {
				tmpfs = dir
			}
		}
		switch {
		case tmpfs != "" && len(tmpfs) > len(volume):
			l.problem(n, "%s lies below the tmpfs %s, which is only there once the node runs: put the file elsewhere, or inside a volume", name, tmpfs)
		case l.layer.Security.ReadOnly && volume == "":
			l.problem(n, "%s can't be written with security.readOnly, but inside a volume: put the file into one, or remove readOnly", name)
		}
	}
}

// below says whether a path lies below a directory.
func below(name, dir string) bool {
	return dir != "" && strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}
