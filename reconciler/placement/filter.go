package placement

import (
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/spec"
)

// Cordoned is the reason for which a host that is cordoned is unfit.
const Cordoned = "cordoned"

// filter refuses hosts for one reason and can say so for those that it refused, and what would help.
type filter struct {
	pass    func(b *board, n *Node, h int) bool
	explain func(b *board, n *Node, refused []int) string
	remedy  func(b *board, n *Node, refused []int) string
}

// moreRoom is what helps where hosts are full.
const moreRoom = "raise a host's capacity, lower the layer's cloudlets.reserved (or resources)"

// moreRoomThere is what helps a node that can be on no other host than the one which is full.
const moreRoomThere = "; raise its capacity, or lower the layer's cloudlets.reserved (or resources)"

func remedyRoom(*board, *Node, []int) string { return moreRoom }

// filters are asked in this order; a host is counted by the first that refuses it.
var filters = [...]filter{
	{
		pass:    func(b *board, _ *Node, h int) bool { return b.hosts[h].Unfit == "" },
		explain: explainUnfit,
		remedy:  remedyUnfit,
	},
	{
		pass: func(b *board, n *Node, h int) bool { return matches(b.hosts[h].Labels, n.Labels) },
		explain: func(_ *board, n *Node, refused []int) string {
			return fmt.Sprintf("%d without %s", len(refused), selector(n.Labels))
		},
		remedy: func(_ *board, n *Node, _ []int) string { return "label another one " + selector(n.Labels) },
	},
	{
		pass: func(b *board, n *Node, h int) bool {
			return n.AntiAffinity != spec.AntiAffinityRequired || b.count(h, n) == 0
		},
		explain: func(_ *board, _ *Node, refused []int) string {
			return fmt.Sprintf("%d with a node of the layer (antiAffinity: required)", len(refused))
		},
		remedy: func(*board, *Node, []int) string { return "make antiAffinity preferred" },
	},
	{
		pass: func(b *board, n *Node, h int) bool { return n.Reserved.Memory <= b.free(h).Memory },
		explain: func(b *board, n *Node, refused []int) string {
			most := spec.Bytes(0)
			for _, h := range refused {
				most = max(most, b.free(h).Memory)
			}
			return amount(len(refused), roughly(most), n.Reserved.Memory.String(), "")
		},
		remedy: remedyRoom,
	},
	{
		pass: func(b *board, n *Node, h int) bool { return n.Reserved.CPU <= b.free(h).CPU },
		explain: func(b *board, n *Node, refused []int) string {
			most := spec.MilliCPU(0)
			for _, h := range refused {
				most = max(most, b.free(h).CPU)
			}
			return amount(len(refused), most.String(), n.Reserved.CPU.String(), " CPU")
		},
		remedy: remedyRoom,
	},
}

// refuse returns the index of the first filter that refuses the host, or -1.
func refuse(b *board, n *Node, h int) int {
	for f := range filters {
		if !filters[f].pass(b, n, h) {
			return f
		}
	}
	return -1
}

// explain says why no host fits, and what would help: 0/3 hosts fit: 2 cordoned, 1 has 256Mi of 512Mi free;
// add a host, uncordon one, …
func (b *board) explain(n *Node) string {
	var refused [len(filters)][]int
	for h := range b.hosts {
		if f := refuse(b, n, h); f >= 0 {
			refused[f] = append(refused[f], h)
		}
	}
	var parts []string
	for f := range filters {
		if len(refused[f]) > 0 {
			parts = append(parts, filters[f].explain(b, n, refused[f]))
		}
	}
	if len(parts) == 0 {
		return "the fleet has no hosts"
	}
	return fmt.Sprintf("0/%d hosts fit: %s; %s", len(b.hosts), strings.Join(parts, ", "), b.remedy(n, refused))
}

// remedy says what would help. Fewer replicas don't help a node that is somewhere and should be elsewhere.
func (b *board) remedy(n *Node, refused [len(filters)][]int) string {
	ways := []string{"add a host"}
	for f := range filters {
		if len(refused[f]) == 0 {
			continue
		}
		if way := filters[f].remedy(b, n, refused[f]); way != "" && !slices.Contains(ways, way) {
			ways = append(ways, way)
		}
	}
	if n.Host == "" {
		ways = append(ways, "lower replicas")
	}
	last := len(ways) - 1
	switch last {
	case 0:
		return ways[0]
	case 1:
		return ways[0] + " or " + ways[1]
	}
	return strings.Join(ways[:last], ", ") + ", or " + ways[last]
}

// remedyUnfit is for hosts that take no nodes; what brings back one that doesn't answer is said elsewhere.
func remedyUnfit(b *board, _ *Node, refused []int) string {
	if slices.ContainsFunc(refused, func(h int) bool { return b.hosts[h].Unfit == Cordoned }) {
		return "uncordon one"
	}
	return ""
}

// explainUnfit counts unfit hosts by their reasons, which are sorted.
func explainUnfit(b *board, _ *Node, refused []int) string {
	reasons := make([]string, len(refused))
	for i, h := range refused {
		reasons[i] = b.hosts[h].Unfit
	}
	slices.Sort(reasons)
	var parts []string
	for i := 0; i < len(reasons); {
		j := i
		for j < len(reasons) && reasons[j] == reasons[i] {
			j++
		}
		parts = append(parts, fmt.Sprintf("%d %s", j-i, reasons[i]))
		i = j
	}
	return strings.Join(parts, ", ")
}

// shortage says what a host lacks, and what would help.
func (b *board) shortage(h int, want spec.Resources) string {
	free := b.free(h)
	if want.Memory > free.Memory {
		return "has " + roughly(free.Memory) + " of " + want.Memory.String() + " free" + moreRoomThere
	}
	return "has " + max(0, free.CPU).String() + " of " + want.CPU.String() + " CPU free" + moreRoomThere
}

func amount(hosts int, most, want, what string) string {
	if hosts == 1 {
		return fmt.Sprintf("1 has %s of %s%s free", most, want, what)
	}
	return fmt.Sprintf("%d have at most %s of %s%s free", hosts, most, want, what)
}

// roughly writes free memory to the mebibyte: nobody wants to read it to the last byte.
func roughly(b spec.Bytes) string {
	b = max(0, b)
	if b > 1<<20 {
		b &^= 1<<20 - 1
	}
	return b.String()
}
