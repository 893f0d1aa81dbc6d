package keeper

import "net"

// Listening are the options with a listener in place of the socket.
func (o Options) Listening(l net.Listener) Options {
	o.listener = l
	return o
}

var FreePort = freePort
