package schema

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Kind is what a value is.
type Kind uint8

// The kinds of values.
const (
	Null Kind = iota
	Bool
	Number
	Text
	List
	Map
)

// Node is a value in a document that knows its place. Aliases and merge keys are resolved: each
// node has one parent, and the place of an aliased one is where it was written.
//
// All methods may be called on a nil node, which is a value that isn't there.
type Node struct {
	Kind         Kind
	Line, Column int
	// Raw is a scalar as it was written, without quotes.
	Raw string
	// Quoted says that a text was written in quotes or as a block.
	Quoted bool
	// Entries of a map, as they were written, those of merge keys last.
	Entries []Entry
	// Items of a list.
	Items []*Node

	value  any // a scalar, as the schema's validation wants it: nil, bool, int64, float64 or string
	index  map[string]int
	parent *Node
	key    string // in the parent, if that is a map
	at     int    // in the parent, if that is a list
}

// Entry is a key of a map with its value; the place is the key's.
type Entry struct {
	Key          string
	Line, Column int
	Value        *Node
}

// indexed is the size from which a map is looked up through an index: most have a few keys.
const indexed = 24

// Get returns the value of a key, or nil.
func (n *Node) Get(key string) *Node {
	if e := n.Entry(key); e != nil {
		return e.Value
	}
	return nil
}

// At follows keys, and returns nil where one isn't there.
func (n *Node) At(keys ...string) *Node {
	for _, key := range keys {
		n = n.Get(key)
	}
	return n
}

// Entry returns the entry of a key, or nil.
func (n *Node) Entry(key string) *Entry {
	if n == nil {
		return nil
	}
	if len(n.Entries) >= indexed {
		if n.index == nil {
			n.index = make(map[string]int, len(n.Entries))
			for i := range n.Entries {
				n.index[n.Entries[i].Key] = i
			}
		}
		if i, ok := n.index[key]; ok {
			return &n.Entries[i]
		}
		return nil
	}
	for i := range n.Entries {
		if n.Entries[i].Key == key {
			return &n.Entries[i]
		}
	}
	return nil
}

// List returns the items of a list; nothing if the node is none.
func (n *Node) List() []*Node {
	if n == nil {
		return nil
	}
	return n.Items
}

// Map returns the entries of a map; nothing if the node is none.
func (n *Node) Map() []Entry {
	if n == nil {
		return nil
	}
	return n.Entries
}

// Text returns the value of a text, and whether the node is one.
func (n *Node) Text() (string, bool) {
	if n == nil || n.Kind != Text {
		return "", false
	}
	return n.Raw, true
}

// Bool returns the value of a boolean, and whether the node is one.
func (n *Node) Bool() (value, ok bool) {
	if n == nil || n.Kind != Bool {
		return false, false
	}
	value, ok = n.value.(bool)
	return value, ok
}

// Int returns the value of a whole number, and whether the node is one.
func (n *Node) Int() (int64, bool) {
	if n == nil || n.Kind != Number {
		return 0, false
	}
	switch v := n.value.(type) {
	case int64:
		return v, true
	case float64:
		// 3.0 is a whole number to a JSON Schema; beyond 2^53 a float is no longer exact.
		if whole := int64(v); float64(whole) == v && whole > -1<<53 && whole < 1<<53 {
			return whole, true
		}
	}
	return 0, false
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Path is the place in the document, such as spec.layers[0].image; empty for the document itself.
func (n *Node) Path() string {
	if n == nil || n.parent == nil {
		return ""
	}
	if n.parent.Kind == List {
		return n.parent.Path() + "[" + strconv.Itoa(n.at) + "]"
	}
	return n.parent.PathOf(n.key)
}

// PathOf is the place of a key of this node, whether it is there or not.
func (n *Node) PathOf(key string) string {
	path := n.Path()
	if !plainKey.MatchString(key) {
		return path + "[" + strconv.Quote(shorten(key)) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// describe says what a value is, for messages.
func (n *Node) describe() string {
	switch n.Kind {
	case Null:
		return "empty"
	case Bool:
		return "the boolean " + shorten(n.Raw)
	case Number:
		return "the number " + shorten(n.Raw)
	case Text:
		return fmt.Sprintf("the text %q", shorten(n.Raw))
	case List:
		return "a list"
	default:
		return "a map"
	}
}

// plain turns the node into what the schema's validation reads.
func (n *Node) plain() any {
	switch n.Kind {
	case List:
		items := make([]any, len(n.Items))
		for i, item := range n.Items {
			items[i] = item.plain()
		}
		return items
	case Map:
		entries := make(map[string]any, len(n.Entries))
		for _, e := range n.Entries {
			entries[e.Key] = e.Value.plain()
		}
		return entries
	default:
		return n.value
	}
}

// shorten keeps messages readable whatever is quoted in them.
func shorten(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
