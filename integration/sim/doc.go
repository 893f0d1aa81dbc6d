// Package sim is a fleet in memory: engines, keepers with their name servers, a repository and a registry, wired
// to a whole controller through the options that the real ones are wired through. Nothing in it is real but the
// controller, the keepers' leases and their probers.
//
// A [World] is made of a seed. Everything that happens in it by chance (how long a call takes, whether its reply is
// lost, what is committed when) is drawn from the seed and from what the call is about, and never from the order in
// which goroutines come by, so that a seed makes the same run again as far as the scheduler lets it. It is meant for
// a synctest bubble, where time is made up; without one it still works, in real time.
//
// At every change of the world it is checked against what must hold always (rules.go). What breaks a rule is kept
// with the moment; [World.Violations] tells.
package sim
