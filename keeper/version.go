package keeper

// Version is raised by hand with every change of what a keeper does: a controller replaces only keepers
// with a lower one. A test fails when the code changed and this didn't.
const Version = 1
