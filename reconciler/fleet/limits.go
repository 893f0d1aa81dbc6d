package fleet

// Within returns the limits as a host's engine can hold to them: CPUs beyond those that the host has are
// refused by the engine, so all that it has stands in for them.
func (l Limits) Within(e Engine) Limits {
	if most := int64(e.CPUs) * 1e9; most > 0 && l.NanoCPUs > most {
		l.NanoCPUs = most
	}
	return l.Held(e)
}

// Held returns the limits without those that a host's engine holds nobody to.
func (l Limits) Held(e Engine) Limits {
	if e.NoSwapLimit {
		l.Swap = 0
	}
	if e.NoPidsLimit {
		l.PidsLimit = 0
	}
	return l
}
