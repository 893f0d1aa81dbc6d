// Package keeper is what runs on a host beside the nodes: it answers their lookups, probes them, keeps the
// few facts that must outlive a controller, and grants the lease without which nothing on the host may be
// changed. Serve is the keeper itself, Connect the bridge that an exec session runs, Client the
// controller's side. The keeper decides nothing about nodes but one thing: one whose probes fail isn't
// answered with.
//
// # The session
//
// Whoever speaks to a keeper does so over one connection, HTTP/2 without TLS. The connection is the
// session: a lease that was granted over it ends shortly after it, and the keeper closes one that was
// silent for SessionSilence. A client asks for something every few seconds, so that one that lives is
// never taken for dead.
//
// # One keeper after another
//
// A new keeper is started beside the old one, on the same volume. Which of the two may write is decided by
// the kernel's lock on a file of the volume:
//
//   - The old one holds it and is active. The new one finds it taken and is on standby: it serves what is
//     on the disk, probes where it is attached, and neither grants nor writes.
//   - Retire makes the old one give back the lease and then the lock, in this order; what it writes is on
//     disk before. From then on it refuses grants and writes, and goes on answering lookups from memory.
//   - The new one takes the lock within StandbyPoll, reads the disk again, and is active. An Acquire that
//     comes before that waits for it. The fencing number goes on from the disk.
//   - If no successor took the lock (it was removed, or never came up), an Acquire at the retired keeper
//     makes it active again, after reading the disk anew. So a hand-over that was cut short at any point
//     leaves exactly one keeper that can be had.
//   - If the old one is killed, the kernel gives the lock to the new one.
//
// A probe asks from the keeper's own address on the node's network. Where it hasn't got that address yet
// (or any more) it says nothing about the node, so neither keeper takes the other's nodes for dead.
package keeper
