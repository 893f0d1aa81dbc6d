package rollout

// count is how far a rollout is: its nodes, however often each is tried, and which of them are done. A rollout
// begins when an idle worker is offered something to do, and with each new spec of the layer.
type count struct {
	hash string // of the layer's spec
	done map[int]bool
}

// expect counts a node whose turn comes.
func (c *count) expect(node int) {
	if _, known := c.done[node]; !known {
		c.add(node)
	}
}

// add counts a node that is worked on, also one that was done and is worked on again.
func (c *count) add(node int) {
	if c.done == nil {
		c.done = map[int]bool{}
	}
	c.done[node] = false
}

func (c *count) finish(node int) {
	c.add(node)
	c.done[node] = true
}

func (c *count) of() (done, total int) {
	for _, d := range c.done {
		if d {
			done++
		}
	}
	return done, len(c.done)
}
