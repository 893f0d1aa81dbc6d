package spec

import "io/fs"

// LoadFleet reads the Fleet alone, whatever is wrong with the environments; nil: there is no valid one. It is
// for finding out what is wrong, never for deciding what is to be done.
func LoadFleet(files fs.FS) *Fleet {
	l := &loader{files: files, parsed: map[digest]*file{}}
	l.discover()
	var fleets []document
	for _, doc := range l.docs {
		if doc.Kind() == KindFleet {
			fleets = append(fleets, doc)
		}
	}
	if len(fleets) != 1 {
		return nil
	}
	l.readFleet(fleets)
	if l.fleet == nil || len(l.fleetReader.all()) > 0 {
		return nil
	}
	return l.fleet
}
