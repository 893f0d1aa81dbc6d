package spec

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// memoryUnits, longest first where one is the end of another.
var memoryUnits = []struct {
	name  string
	bytes int64
}{
	{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40},
	{"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12},
}

// maxMemory is more than any machine has; up to it, sums over all nodes don't overflow.
const maxMemory = 1 << 50

// maxCPU, in thousandths, for the same reason.
const maxCPU = 1_000_000_000

// ParseBytes reads an amount of memory with its unit: 128Mi, 1.5Gi, 500M. What is left of a byte is dropped.
func ParseBytes(text string) (Bytes, error) {
	for _, unit := range memoryUnits {
		number, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		amount, ok := decimal(number)
		if !ok {
			break
		}
		amount.Mul(amount, new(big.Rat).SetInt64(unit.bytes))
		if amount.Cmp(big.NewRat(maxMemory, 1)) > 0 {
			return 0, fmt.Errorf("%s of memory is more than there can be: write at most 1024Ti", text)
		}
		return Bytes(new(big.Int).Quo(amount.Num(), amount.Denom()).Int64()), nil
	}
	return 0, fmt.Errorf("%q is no amount of memory: write a number with a unit (Ki, Mi, Gi, Ti, or k, M, G, T), such as 512Mi", text)
}

// ParseCPU reads an amount of CPU: thousandths of a core (200m) or cores (1.5).
func ParseCPU(text string) (MilliCPU, error) {
	number, thousandths := strings.CutSuffix(text, "m")
	amount, ok := decimal(number)
	if !ok || thousandths && strings.Contains(number, ".") {
		return 0, fmt.Errorf("%q is no amount of CPU: write thousandths of a core such as 200m, or cores such as 1.5", text)
	}
	if !thousandths {
		amount.Mul(amount, big.NewRat(1000, 1))
	}
	if !amount.IsInt() {
		return 0, fmt.Errorf("%s is finer than a thousandth of a core: write it in thousandths, such as 200m", text)
	}
	if amount.Cmp(big.NewRat(maxCPU, 1)) > 0 {
		return 0, fmt.Errorf("%s is more CPU than there can be", text)
	}
	return MilliCPU(amount.Num().Int64()), nil
}

// decimal reads digits with an optional fraction; no sign, no exponent.
func decimal(text string) (*big.Rat, bool) {
	if text == "" || len(text) > 30 || strings.Trim(text, "0123456789.") != "" || text[0] == '.' || text[len(text)-1] == '.' {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// ParseDuration reads a duration with its units: 30s, 1m30s, 500ms.
func ParseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || text[0] < '0' || text[0] > '9' || text[len(text)-1] < 'a' {
		return 0, fmt.Errorf("%q is no duration: write a number with a unit (ms, s, m, h), such as 30s or 1m30s", text)
	}
	return d, nil
}

// FormatDuration writes a duration as people do: 1m, not 1m0s.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// String writes an amount of memory in the largest binary unit that fits it exactly.
func (b Bytes) String() string {
	for _, unit := range []struct {
		name  string
		shift uint
	}{{"Ti", 40}, {"Gi", 30}, {"Mi", 20}, {"Ki", 10}} {
		if size := Bytes(1) << unit.shift; b != 0 && b%size == 0 {
			return strconv.FormatInt(int64(b/size), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// String writes an amount of CPU: whole cores as such, else thousandths.
func (c MilliCPU) String() string {
	if c%1000 == 0 {
		return strconv.FormatInt(int64(c/1000), 10)
	}
	return strconv.FormatInt(int64(c), 10) + "m"
}

// times is an amount taken n times, or as much as there can be.
func (r Resources) times(n int64) Resources {
	return Resources{
		Memory: Bytes(product(int64(r.Memory), n)),
		CPU:    MilliCPU(product(int64(r.CPU), n)),
	}
}

func product(a, b int64) int64 {
	if a > 0 && b > math.MaxInt64/a {
		return math.MaxInt64
	}
	return a * b
}
