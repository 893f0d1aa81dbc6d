package spec

import (
	"encoding/json"
	"slices"
	"strings"
)

// Change is a field in which two canonical forms differ. An empty From or To means that nothing was
// or is written there.
type Change struct {
	Field    string
	From, To string
}

// Diff names the fields in which two canonical forms (Layer.Written) differ, sorted. It returns nothing
// only for equal ones: where the old or the new one can't be read, the change is of the field "spec".
func Diff(old, new string) []Change {
	if old == new {
		return nil
	}
	was, ok := flatten(old)
	if !ok {
		return []Change{{Field: "spec", From: "unreadable", To: "as written"}}
	}
	is, ok := flatten(new)
	if !ok {
		return []Change{{Field: "spec", From: "as written", To: "unreadable"}}
	}
	var changes []Change
	for field, to := range is {
		if from, ok := was[field]; !ok || from != to {
			changes = append(changes, Change{field, from, to})
		}
	}
	for field, from := range was {
		if _, ok := is[field]; !ok {
			changes = append(changes, Change{field, from, ""})
		}
	}
	if len(changes) == 0 {
		return []Change{{Field: "spec", From: "written in another form", To: "as written"}}
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Field, b.Field) })
	return changes
}

// flatten turns a canonical form into fields such as env.LOG_LEVEL.
func flatten(written string) (map[string]string, bool) {
	decoder := json.NewDecoder(strings.NewReader(written))
	decoder.UseNumber()
	var value map[string]any
	if err := decoder.Decode(&value); err != nil || value == nil || decoder.More() {
		return nil, false
	}
	fields := map[string]string{}
	for key, inner := range value {
		flattenInto(fields, key, inner)
	}
	return fields, true
}

func flattenInto(fields map[string]string, path string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			flattenInto(fields, path+"."+key, inner)
		}
		if len(v) == 0 {
			fields[path] = "{}"
		}
	case string:
		fields[path] = v
	case json.Number:
		fields[path] = v.String()
	default:
		fields[path] = canonicalJSON(v)
	}
}
