package fleet_test

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

func aZone() *fleet.Zone {
	return &fleet.Zone{
		Fleet: "f", Host: "hn1", Domain: "internal", TTL: time.Second, Pool: netip.MustParsePrefix("10.112.0.0/12"),
		Networks: []fleet.ZoneNetwork{{Environment: "shop", Name: "n", Subnet: netip.MustParsePrefix("10.112.0.0/22"), Address: netip.MustParseAddr("10.112.0.2"), Layers: []string{"web"}}},
		Nodes: []fleet.ZoneNode{{
			NodeID: fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}, Host: "hn2", Generation: 1, Instance: "i", Epoch: "e", Address: netip.MustParseAddr("10.112.0.9"), Out: "stopped",
			Probes:   []fleet.Probe{{Port: 80, Path: "/", Interval: time.Second, Timeout: time.Second, Retries: 2, StartPeriod: time.Second}},
			Services: []fleet.ZoneService{{Name: "http", Protocol: spec.TCP, Port: 80}},
		}},
	}
}

// TestSameZone: zones are the same only where all of their fields are.
func TestSameZone(t *testing.T) {
	require.True(t, aZone().Same(aZone()))
	other := aZone()
	fields := changeEach(reflect.ValueOf(other).Elem(), "zone", func(field string) {
		require.False(t, aZone().Same(other), field)
		require.False(t, other.Same(aZone()), field)
	})
	require.True(t, aZone().Same(other), "all were put back")
	require.Greater(t, fields, 25)

	empty, wired := &fleet.Zone{Networks: []fleet.ZoneNetwork{{Layers: []string{}}}, Nodes: []fleet.ZoneNode{{Probes: []fleet.Probe{}}}}, new(fleet.Zone)
	text, err := json.Marshal(empty)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, wired))
	require.True(t, empty.Same(wired))
}

// changeEach changes one field after the other, each for as long as check looks.
func changeEach(v reflect.Value, name string, check func(field string)) (fields int) {
	was := reflect.New(v.Type()).Elem()
	was.Set(v)
	switch v.Interface().(type) {
	case netip.Addr, netip.Prefix:
		v.SetZero()
		check(name)
		v.Set(was)
		return 1
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fields += changeEach(v.Field(i), name+"."+v.Type().Field(i).Name, check)
		}
		return fields
	case reflect.Slice:
		for i := range v.Len() {
			fields += changeEach(v.Index(i), name, check)
		}
		v.SetZero()
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Uint16, reflect.Uint32:
		v.SetUint(v.Uint() + 1)
	default:
		v.SetInt(v.Int() + 1)
	}
	check(name)
	v.Set(was)
	return fields + 1
}
