//go:build !unix

package journal

import "os"

// tryLock has no lock to take here: two processes that rotate at the same moment make two files.
func tryLock(*os.File) (bool, error) { return true, nil }
