package spec_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/spec"
)

const benchLayer = `
    - name: web%d
      image: registry.example.com/shop/web:1.4.2
      replicas: 3
      cloudlets: {reserved: 2, limit: 8}
      env:
        LOG_LEVEL: info
        DATABASE_URL: postgres://db.shop.internal:5432/shop
      labels: {team: shop}
      volumes:
        - {name: uploads, path: /srv/uploads}
      ports:
        - {name: http, port: 8080, publish: 0}
      files:
        - path: /etc/app/app.conf
          content: |
            a = 1
            b = 2
      healthCheck:
        http: {port: http, path: /healthz}
        interval: 5s
      stop: {signal: SIGTERM, grace: 10s}
      updatePolicy:
        strategy: sequential
        delay: 30s
        operations: {restart: {delay: 0s}}
`

func repository(environments, layers int) fstest.MapFS {
	files := fstest.MapFS{"fleet.yaml": {Data: []byte(fleetYAML)}}
	for e := range environments {
		var b strings.Builder
		fmt.Fprintf(&b, "apiVersion: evenkeel.dev/v1\nkind: Environment\nmetadata: {name: shop%d}\nspec:\n  layers:", e)
		for l := range layers {
			fmt.Fprintf(&b, benchLayer, l)
		}
		files[fmt.Sprintf("environments/shop%d.yaml", e)] = &fstest.MapFile{Data: []byte(b.String())}
	}
	return files
}

const fleetYAML = `apiVersion: evenkeel.dev/v1
kind: Fleet
metadata: {name: production}
spec:
  hosts:
    - {name: hn1, endpoint: "unix:///var/run/docker.sock"}
`

var sizes = []struct{ environments, layers int }{{1, 1}, {100, 10}}

func BenchmarkLoad(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("%dx%d", size.environments, size.layers), func(b *testing.B) {
			files := repository(size.environments, size.layers)
			b.ReportAllocs()
			for b.Loop() {
				_, err := spec.Load(files)
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkLoadAgain loads a revision in which one file has changed, as the loop does.
func BenchmarkLoadAgain(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("%dx%d", size.environments, size.layers), func(b *testing.B) {
			files := repository(size.environments, size.layers)
			var loader spec.Loader
			shop := files["environments/shop0.yaml"]
			written, revision := slices.Clip(shop.Data), 0
			b.ReportAllocs()
			for b.Loop() {
				shop.Data = fmt.Appendf(written, "# revision %d\n", revision)
				revision++
				_, err := loader.Load(files)
				require.NoError(b, err)
			}
		})
	}
}
