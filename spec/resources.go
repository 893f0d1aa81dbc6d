package spec

// minCPU is the least CPU that the kernel can limit a container to.
const minCPU = 10

// resources fills in what a node reserves and may use.
//
// With cloudlets, `reserved` (1 where it isn't written) is what placement counts and, where it is
// written, also the engine's memory reservation and CPU shares; `limit` is the limit. With resources,
// memory and cpu are the limit, and memoryReservation is the engine's reservation; placement counts
// the reservation where there is one, else the limit, and where neither is written one cloudlet's worth.
func (l *layerReader) resources(cloudlet Resources) {
	c, r := l.node.Get("cloudlets"), l.node.Get("resources")
	if c != nil && r != nil {
		first, second := l.node.Entry("cloudlets"), l.node.Entry("resources")
		if first.Line > second.Line {
			first, second = second, first
		}
		l.problem(second.Value, "%s and %s say the same in two ways: remove one", second.Key, first.Key)
	}
	layer := &l.layer
	layer.Reserved = cloudlet
	if c != nil {
		l.cloudlets(cloudlet)
		return
	}
	layer.Limit = Resources{Memory: l.memory(r.Get("memory"), 0), CPU: l.cpu(r.Get("cpu"), 0)}
	layer.Reservation.Memory = l.memory(r.Get("memoryReservation"), 0)
	for _, key := range []string{"memory", "memoryReservation"} {
		if n := r.Get(key); n != nil {
			if amount, err := ParseBytes(n.Raw); err == nil && amount < minMemory {
				l.problem(n, "is %s: must be at least 6Mi, the least that Docker gives a container", n.Raw)
			}
		}
	}
	if n := r.Get("cpu"); n != nil {
		if amount, err := ParseCPU(n.Raw); err == nil && amount < minCPU {
			l.problem(n, "is %s: must be at least 10m, the least that Docker limits a container to", n.Raw)
		}
	}
	if layer.Limit.Memory > 0 && layer.Reservation.Memory > layer.Limit.Memory {
		l.problem(r.Get("memoryReservation"), "is %s, more than memory: %s: write at most that", r.Get("memoryReservation").Raw, r.Get("memory").Raw)
	}
	switch {
	case layer.Reservation.Memory > 0:
		layer.Reserved.Memory = layer.Reservation.Memory
	case layer.Limit.Memory > 0:
		layer.Reserved.Memory = layer.Limit.Memory
	}
	if layer.Limit.CPU > 0 {
		layer.Reserved.CPU = layer.Limit.CPU
	}
}

func (l *layerReader) cloudlets(cloudlet Resources) {
	c := l.node.Get("cloudlets")
	reserved, limit := integer(c.Get("reserved"), 0), integer(c.Get("limit"), 0)
	if reserved > 0 {
		l.layer.Reserved = cloudlet.times(int64(reserved))
		l.layer.Reservation = l.layer.Reserved
	}
	if limit > 0 {
		l.layer.Limit = cloudlet.times(int64(limit))
		if limit < reserved {
			l.problem(c.Get("limit"), "is %d, less than reserved: %d: write at least that", limit, reserved)
		}
		if l.layer.Limit.CPU < minCPU {
			l.problem(c.Get("limit"), "is %s of CPU: must be at least 10m, the least that Docker limits a container to", l.layer.Limit.CPU)
		}
	}
}
