package fleet

import "github.com/distribution/reference"

// Registry is the registry that an image's reference names, as people know it: docker.io where it names none.
func Registry(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref
	}
	return reference.Domain(named)
}
