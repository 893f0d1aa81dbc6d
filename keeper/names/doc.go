// Package names answers the lookups of nodes. Each environment's network is answered for that environment
// only: its layers and nodes under their full and short names, and their addresses in reverse.
//
// What isn't ours is forwarded, with exceptions: what would show a node something of another environment,
// or would tell the world of ours, is denied. The resolver that a keeper forwards to is Docker's own, which
// knows the containers of every network that the keeper is on. Denied are
//
//   - single labels that are no layer, and node<N>.<layer> where there is no such node;
//   - names in the zone below an environment of the fleet, the keeper's own or another;
//   - names below the name of an environment or of a Docker network of the fleet. An environment that is
//     called like a public top-level domain (dev, shop) is the exception, since nodes may want go.dev: there
//     only names below one of its layers are denied;
//   - reverse names of the fleet's address pool.
//
// A layer's name is answered with its current nodes that are to be found and healthy; where there is none,
// with all that are to be found; where there is none of those either, with all current ones: an answer that
// may fail is better than none, and an NXDOMAIN is remembered for longer than the trouble lasts.
package names
