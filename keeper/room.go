package keeper

import (
	"context"
	"net/http"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// handleRoom tells the room of the file system that the keeper's volume is on: the one that the engine keeps its data on.
func (h *host) handleRoom(w http.ResponseWriter, _ *http.Request) {
	room, err := roomOf(h.options.Dir)
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, room)
}

// Room returns the room of the file system that the keeper's volume is on.
func (c *Client) Room(ctx context.Context) (fleet.Room, error) {
	var r fleet.Room
	err := c.call(ctx, request{what: "asking the keeper for its room", method: "GET", path: "/v1/room"}, &r)
	return r, err
}
