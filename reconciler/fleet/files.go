package fleet

import (
	"io/fs"
	"time"
)

// File is what was found where a file of ours was put into a node.
type File struct {
	Path    string
	Missing bool        // there is nothing any more
	Mode    fs.FileMode // with what it is, where it isn't a file
	Size    int64
	ModTime time.Time
	Target  string // a link's
	// Digest is the content's, salted as the spec's are; empty: it wasn't read, since the file is as it was put
	// there, isn't one, or is too long.
	Digest string
	// AsPut: nothing has touched it since it was put there.
	AsPut bool
}

// SameStat says whether two looks at a file saw the same one: then its content is the same too.
func (f *File) SameStat(other *File) bool {
	return f.Missing == other.Missing && f.Mode == other.Mode && f.Size == other.Size && f.Target == other.Target && f.ModTime.Equal(other.ModTime)
}

// Files are those of ours in one instance, as they were last read.
type Files struct {
	Files []File    // sorted by path
	At    time.Time // when the reading began that they are from; zero: there was none that succeeded
	// Problem is why they could not be read since; empty: they could.
	Problem string
}

// File returns what was found at a path, or nil.
func (f *Files) File(path string) *File {
	for i := range f.Files {
		if f.Files[i].Path == path {
			return &f.Files[i]
		}
	}
	return nil
}

// PutAt is the time that the files of a container carry which was created then: whole seconds, so that what is
// written later, even within the same second, carries another one.
func PutAt(created time.Time) time.Time { return created.Truncate(time.Second) }
