package fleet_test

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Copies that differ in anything but their serials aren't the same, also by a field that is added some day.
func TestCopiesThatDiffer(t *testing.T) {
	made := func() *fleet.Copy {
		return &fleet.Copy{
			Hosts: []fleet.CopyHost{{}}, Environments: []fleet.CopyEnvironment{{}}, Nodes: []fleet.CopyNode{{Published: []fleet.Published{{}}}},
			Said: map[string]string{},
		}
	}
	var paths int
	var vary func(path string, at func(*fleet.Copy) reflect.Value)
	vary = func(path string, at func(*fleet.Copy) reflect.Value) {
		v := at(made())
		switch {
		case path == ".Serial":
			return
		case v.Kind() == reflect.Struct && v.Type().PkgPath() != "net/netip":
			for i := range v.NumField() {
				vary(path+"."+v.Type().Field(i).Name, func(c *fleet.Copy) reflect.Value { return at(c).Field(i) })
			}
			return
		case v.Kind() == reflect.Slice && v.Len() > 0:
			vary(path+"[0]", func(c *fleet.Copy) reflect.Value { return at(c).Index(0) })
		}
		paths++
		c := made()
		at(c).Set(another(t, at(c)))
		require.False(t, c.Same(made()), path)
		require.False(t, made().Same(c), path)
	}
	vary("", func(c *fleet.Copy) reflect.Value { return reflect.ValueOf(c).Elem() })
	require.Greater(t, paths, 20)

	c := made()
	c.Serial, c.Said, c.Nodes[0].Volumes = 7, nil, []string{}
	require.True(t, c.Same(made()), "nothing is nothing")
}

// another is another value of the same type.
func another(t *testing.T, v reflect.Value) reflect.Value {
	n := reflect.New(v.Type()).Elem()
	switch x := n.Addr().Interface().(type) {
	case *netip.Addr:
		*x = netip.MustParseAddr("10.0.0.1")
		return n
	case *netip.Prefix:
		*x = netip.MustParsePrefix("10.0.0.0/8")
		return n
	}
	switch v.Kind() {
	case reflect.Bool:
		n.SetBool(true)
	case reflect.Int, reflect.Int64:
		n.SetInt(1)
	case reflect.Uint16:
		n.SetUint(1)
	case reflect.String:
		n.SetString("x")
	case reflect.Slice:
		n.Set(reflect.MakeSlice(v.Type(), v.Len()+1, v.Len()+1))
	case reflect.Map:
		n.Set(reflect.MakeMap(v.Type()))
		n.SetMapIndex(reflect.ValueOf("x"), reflect.Zero(v.Type().Elem()))
	default:
		t.Fatalf("no other %s is known", v.Type())
	}
	return n
}
