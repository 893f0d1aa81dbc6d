package render

import (
	"encoding/json"
	"io"
	"reflect"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// JSON writes v for programs.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// PlanJSON writes the plan as the contract for CI has it.
func PlanJSON(w io.Writer, p plan.Plan) error { return JSON(w, PlanValue(p)) }

// PlanValue is the plan with empty lists where it has none, so that programs never meet a null.
func PlanValue(p plan.Plan) plan.Plan { return filled(p) }

// StatusValue is the status with empty lists where it has none.
func StatusValue(s reconciler.Status) reconciler.Status { return filled(s) }

// filled returns v with every nil list that JSON would show as null replaced by an empty one, at any
// depth. What v's lists point at isn't touched.
func filled[T any](v T) T {
	fill(reflect.ValueOf(&v).Elem())
	return v
}

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if tag := v.Type().Field(i).Tag.Get("json"); shown(tag) {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		list := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(list, v)
		for i := range list.Len() {
			fill(list.Index(i))
		}
		v.Set(list)
	}
}

func shown(tag string) bool {
	return tag != "" && tag != "-" && !strings.Contains(tag, "omitempty")
}
