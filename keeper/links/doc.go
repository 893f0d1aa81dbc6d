// Package links joins the bridges of a fleet's environments on different hosts, by VXLAN devices that lead from each
// to the others, and has the host take nobody else's frames.
//
// It knows a device for its own by the alias that it gave it, and changes no other. It never makes a bridge: that is
// the engine's, and a link whose bridge isn't there yet waits for it.
package links
