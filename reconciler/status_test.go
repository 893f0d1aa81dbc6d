package reconciler

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// The API's status is written with the quantities of the spec, and is what it was when it is read again.
func TestStatusIsWrittenAsTheSpecIs(t *testing.T) {
	host := HostStatus{
		Name: "hn1", Reachable: true, Engine: EngineStatus{Version: "28.0", CPUs: 8, Memory: "24Gi"},
		Reserved: Room{Memory: 256 << 20, CPU: 400}, Lease: &LeaseStatus{Holder: "ann@ops", Held: plan.Duration(90 * time.Second)},
	}
	text, err := json.Marshal(host)
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"hn1","address":"","state":"","reachable":true,"nodes":0,"keeper":0,
		"engine":{"version":"28.0","cpus":8,"memory":"24Gi"},
		"reserved":{"memory":"256Mi","cpu":"400m"},"capacity":{},
		"lease":{"holder":"ann@ops","held":"1m30s"}}`, string(text))
	var read HostStatus
	require.NoError(t, json.Unmarshal(text, &read))
	require.Equal(t, host, read)
	for _, wrong := range []string{`[]`, `{"memory":"much","cpu":"1"}`, `{"memory":"1Gi","cpu":"much"}`} {
		require.Error(t, json.Unmarshal([]byte(wrong), &Room{}), wrong)
	}
}
