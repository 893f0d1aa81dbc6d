package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// failure words one broken keyword of the schema.
func (v *validation) failure(keyword string, n *Node, within map[string]any, said string) {
	if n.odd() && !slices.Contains(schemaTypes(within), "string") {
		v.add(n, "%s", oddMessage(n))
		return
	}
	switch keyword {
	case "additionalProperties":
		v.unknownKeys(n, within)
	case "required":
		v.missingKeys(n, within)
	case "type":
		v.add(n, "%s", typeMessage(n, within))
	case "enum":
		v.add(n, "%s", v.enumMessage(n, within))
	case "const":
		v.add(n, "is %s: must be %v", n.describe(), within["const"])
	case "pattern":
		v.add(n, "is %s: %s", describe(n, within), text(within, "patternErrorMessage", said))
	case "minimum":
		v.add(n, "is %s: must be at least %v", shorten(n.Raw), within["minimum"])
	case "maximum":
		v.add(n, "is %s: must be at most %v", shorten(n.Raw), number64(within["maximum"]))
	case "maxLength":
		v.add(n, "has %d characters: must have at most %v", len([]rune(n.Raw)), within["maxLength"])
	case "minLength":
		v.add(n, "is empty: write a value")
	case "minItems":
		v.add(n, "is an empty list: write at least one item")
	default:
		v.add(n, "%s", text(within, "errorMessage", said))
	}
}

func oddMessage(n *Node) string {
	return fmt.Sprintf("%s isn't a plain decimal number, and different YAML readers make different numbers of it: write digits without a leading 0", shorten(n.Raw))
}

// text returns a text of the schema, or what stands in for it.
func text(within map[string]any, key, otherwise string) string {
	if s, ok := within[key].(string); ok {
		return s
	}
	return otherwise
}

// number64 renders a number of the schema without an exponent.
func number64(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

func (v *validation) unknownKeys(n *Node, within map[string]any) {
	known := sortedKeys(within["properties"])
	for _, e := range n.Entries {
		if slices.Contains(known, e.Key) {
			continue
		}
		message := "unknown key"
		switch {
		case len(v.problems) > most: // not shown: looking for what was meant would only take time
		case isLater(n, e.Key):
			message = "not supported by this version of evenkeel: remove it"
		default:
			message += cmp.Or(meant(e.Key, known), v.elsewhere(e.Key, known))
		}
		v.problems = append(v.problems, Problem{File: v.doc.File, Line: e.Line, Column: e.Column, Path: n.PathOf(e.Key), Message: message})
	}
}

// elsewhere says where there is such a key, if that is one place, else what there is here.
func (v *validation) elsewhere(key string, known []string) string {
	places := v.schema.places(key)
	switch {
	case len(places) == 1 && places[0] != "":
		return "; a key of that name belongs to " + places[0]
	case len(places) == 1:
		return "; a key of that name belongs to the document itself, beside kind"
	case len(known) <= 12:
		return "; the keys here are " + strings.Join(known, ", ")
	}
	return ""
}

func (v *validation) missingKeys(n *Node, within map[string]any) {
	required, _ := within["required"].([]any)
	properties, _ := within["properties"].(map[string]any)
	for _, r := range required {
		key, _ := r.(string)
		if n.Get(key) != nil {
			continue
		}
		message := "is missing"
		if property, ok := properties[key].(map[string]any); ok {
			if example := v.example(property); example != "" {
				message += fmt.Sprintf(": write one, such as %s: %s", key, example)
			}
		}
		p := v.doc.Problem(n, "%s", message)
		p.Path = n.PathOf(key)
		v.problems = append(v.problems, p)
	}
}

// example finds a text to show for a property.
func (v *validation) example(property map[string]any) string {
	if c, ok := property["const"].(string); ok {
		return c
	}
	if examples, ok := property["examples"].([]any); ok && len(examples) > 0 {
		switch e := examples[0].(type) {
		case string:
			return e
		case float64:
			return number64(e)
		}
	}
	return ""
}

func (v *validation) enumMessage(n *Node, within map[string]any) string {
	var values []string
	options, _ := within["enum"].([]any)
	for _, o := range options {
		values = append(values, fmt.Sprint(o))
	}
	if isLater(n, n.Raw) {
		return fmt.Sprintf("%s is not supported by this version of evenkeel: write %s", shorten(n.Raw), strings.Join(values, " or "))
	}
	return fmt.Sprintf("is %s: must be %s%s", n.describe(), oneOf(values), meant(n.Raw, values))
}

// oneOf lists values for a reader.
func oneOf(values []string) string {
	if len(values) < 2 {
		return strings.Join(values, "")
	}
	return strings.Join(values[:len(values)-1], ", ") + " or " + values[len(values)-1]
}

// typeMessage says what a value is, what it should be, and how to write that.
func typeMessage(n *Node, within map[string]any) string {
	types := schemaTypes(within)
	wanted := make([]string, 0, len(types))
	for _, t := range types {
		if name, ok := typeNames[t]; ok {
			wanted = append(wanted, name)
		}
	}
	must := oneOf(wanted)
	wants := func(t string) bool { return slices.Contains(types, t) }
	if n.Kind == Null {
		return fmt.Sprintf("is empty: write %s, or remove the key", must)
	}
	if hint, ok := within["patternErrorMessage"].(string); ok && (n.Kind == Number || n.Kind == Bool) {
		return fmt.Sprintf("is %s: %s", describe(n, within), hint)
	}
	return fmt.Sprintf("is %s: must be %s", describe(n, within), must) + typeHint(n, within, wants)
}

// describe says what a value is. Where a secret may stand by mistake it isn't repeated.
func describe(n *Node, within map[string]any) string {
	if secret, _ := within["writeOnly"].(bool); secret && (n.Kind == Text || n.Kind == Number) {
		return "a text that may be a secret and isn't repeated here"
	}
	return n.describe()
}

// typeHint says how a value of the wrong type is written right, where that can be told.
func typeHint(n *Node, within map[string]any, wants func(string) bool) string {
	switch {
	case wants("string") && (n.Kind == Number || n.Kind == Bool):
		return fmt.Sprintf("; write it in quotes: %q", n.Raw)
	case wants("boolean") && n.Kind == Text:
		return booleanHint(n.Raw)
	case (wants("integer") || wants("number")) && n.Kind == Text && plainInt.MatchString(n.Raw):
		return "; write it without quotes"
	case wants("integer") && n.Kind == Text && strings.HasSuffix(n.Raw, "%"):
		return "; percentages are not supported by this version of evenkeel"
	case wants("object") && within["properties"] != nil:
		return " (" + strings.Join(sortedKeys(within["properties"]), ", ") + ")"
	case wants("object"):
		return ", each with its value: write key: value"
	case wants("array") && (n.Kind == Text || n.Kind == Number):
		return fmt.Sprintf("; write [%s]", shorten(n.Raw))
	}
	return ""
}

func booleanHint(text string) string {
	if value, ok := oldBooleans[strings.ToLower(text)]; ok {
		return fmt.Sprintf("; write %t", value)
	}
	if text == "true" || text == "false" {
		return "; write it without quotes"
	}
	return ""
}

var typeNames = map[string]string{
	"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
	"array": "a list", "object": "a map of keys",
}

// oldBooleans are what YAML 1.1 took for booleans.
var oldBooleans = map[string]bool{"yes": true, "on": true, "y": true, "no": false, "off": false, "n": false}

// schemaTypes returns the types that a schema names.
func schemaTypes(within map[string]any) []string {
	switch t := within["type"].(type) {
	case string:
		return []string{t}
	case []any:
		types := make([]string, 0, len(t))
		for _, e := range t {
			if s, ok := e.(string); ok {
				types = append(types, s)
			}
		}
		return types
	}
	return nil
}

func sortedKeys(v any) []string {
	m, _ := v.(map[string]any)
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
