package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// resolveOne finds out what a written image stands for: with `missing` and `never` what a host already
// has under that name comes first, else the registry is asked, and what is in no registry is known by its
// ID on each host.
// silent is told which hosts have asked the registry and got no answer for a while.
func (c *Controller) resolveOne(ctx context.Context, r plan.ImageRequest, silent func(hosts []string)) plan.Image {
	if digest := digestOf(r.Image); digest != "" {
		return plan.Image{Digest: digest}
	}
	img, missing := c.askHosts(ctx, r)
	switch {
	case r.Pull != spec.PullAlways && (img.Digest != "" || len(img.IDs) > 0 && len(missing) == 0 && img.Problem == ""):
		return img
	case r.Pull == spec.PullNever && len(missing) > 0:
		img.Problem = fmt.Sprintf("image %s isn't on %s, and `pull: never` forbids fetching it: load it there or change `pull`",
			r.Image, strings.Join(missing, ", "))
		return img
	case r.Pull == spec.PullNever:
		return img
	}
	digest, err := c.askRegistry(ctx, r, silent)
	if digest != "" {
		return plan.Image{Digest: withDigest(r.Image, digest)}
	}
	there := onlyThere(r, img, missing, err)
	if err != nil && r.Pull == spec.PullMissing && len(there.IDs) == 0 && !settled(err) {
		last, _ := fleet.LastPulled(c.observed(), r.Image)
		there.Before = last.Ref
	}
	return there
}

// askHosts asks the hosts what they have under a name, side by side. A host that doesn't answer says
// nothing about the others; a digest is the same everywhere, so that the first one ends the asking.
func (c *Controller) askHosts(ctx context.Context, r plan.ImageRequest) (img plan.Image, missing []string) {
	type answer struct {
		host string
		info fleet.ImageInfo
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan answer, len(r.Hosts))
	asked := 0
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, name := range r.Hosts {
		h := c.host(name)
		if h == nil || !h.snapshot().Reachable {
			continue
		}
		asked++
		wg.Go(func() {
			info, err := h.engine.Image(ctx, r.Image)
			answers <- answer{name, info, err}
		})
	}
	img.IDs = map[string]string{}
	var silent []string
	for range asked {
		a := <-answers
		switch {
		case errors.Is(a.err, fleet.ErrNoImage):
			missing = append(missing, a.host)
		case a.err != nil:
			silent = append(silent, a.err.Error())
		default:
			img.IDs[a.host] = a.info.ID
			img.Digest = repoDigest(r.Image, a.info.Digests)
		}
		if img.Digest != "" && r.Pull != spec.PullAlways {
			return plan.Image{Digest: img.Digest}, nil
		}
	}
	slices.Sort(missing)
	if len(silent) > 0 {
		slices.Sort(silent)
		img.Problem = strings.Join(silent, "; ")
	}
	return img, missing
}

// registryPatience is how long one may get no answer of a registry before the next one is asked too.
const registryPatience = 3 * time.Second

// asker is one that can ask a registry: evenkeel itself, or a host's engine.
type asker struct {
	name string
	// last: what it says of an image (that there is none, that it is denied) no other needs to be asked.
	last bool
	ask  func(ctx context.Context) (digest string, err error)
}

// answer is what an asker was told.
type answer struct {
	asker
	digest string
	err    error
}

// orBefore is the one of two errors that counts. The hosts have to get the image, so what one of them was
// told counts for more than what evenkeel was, and the image isn't given up before each of them was refused.
func (a answer) orBefore(before error) error {
	var hosts hostError
	switch {
	case errors.As(before, &hosts) && (a.name == itself || !settled(before)):
		return before
	case a.name == itself:
		return a.err
	}
	return hostError{a.err}
}

// hostError is what a host was told.
type hostError struct{ error }

func (e hostError) Unwrap() error { return e.error }

// askRegistry asks the registry by itself, and has the hosts ask it one after the other where that is of no
// avail or gets no answer: they may have ways of their own to it.
// Without a digest and an error none of the hosts is in reach.
func (c *Controller) askRegistry(ctx context.Context, r plan.ImageRequest, silent func(hosts []string)) (digest string, err error) {
	as, err := c.credentials(ctx, r.Image)
	if err != nil {
		return "", err
	}
	return askInTurn(ctx, c.askers(r, as), silent)
}

// askInTurn asks one after the other, the next one too where one gets no answer for a while, and tells who waits.
func askInTurn(ctx context.Context, askers []asker, silent func(waits []string)) (digest string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	answers := make(chan answer, len(askers))
	var waits []string
	for _, one := range askers {
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			digest, err := one.ask(ctx)
			answers <- answer{one, digest, err}
		})
		waits = append(waits, one.name)
		patience := time.NewTimer(registryPatience)
		select {
		case a := <-answers:
			patience.Stop()
			if a.err == nil || a.last && final(a.err) {
				return a.digest, a.err
			}
			waits = slices.DeleteFunc(waits, func(name string) bool { return name == a.name })
			err = a.orBefore(err)
		case <-patience.C:
			silent(waits)
		}
	}
	for range waits {
		a := <-answers
		if a.err == nil || a.last && final(a.err) {
			return a.digest, a.err
		}
		err = a.orBefore(err)
	}
	return "", err
}

// itself is how the one that needs no host to ask is called.
const itself = "evenkeel"

// final says whether an error is a registry's word on an image.
func final(err error) bool {
	return errors.Is(err, fleet.ErrNoImage) || errors.Is(err, fleet.ErrDenied)
}

// askers are those that can ask a registry, the one that fetches nothing first.
func (c *Controller) askers(r plan.ImageRequest, as fleet.Credentials) []asker {
	server := fleet.Registry(r.Image)
	var list []asker
	trusted, mirrored := true, false
	for _, name := range r.Hosts {
		h := c.host(name)
		if h == nil {
			continue
		}
		st := h.snapshot()
		if !st.Reachable {
			continue
		}
		trusted = trusted && st.Engine.Trusts(server)
		mirrored = mirrored || st.Engine.Mirrored && server == spec.DockerHub
		list = append(list, asker{name: name, ask: func(ctx context.Context) (string, error) { return h.engine.Resolve(ctx, r.Image, as) }})
	}
	if c.opts.Registries == nil || len(list) == 0 || fleet.Loopback(server) {
		return list
	}
	return slices.Insert(list, 0, asker{name: itself, last: !mirrored, ask: func(ctx context.Context) (string, error) {
		return c.opts.Registries.Digest(ctx, r.Image, as, trusted)
	}})
}

// credentials reads those for an image, as the Fleet in force says.
func (c *Controller) credentials(ctx context.Context, ref string) (fleet.Credentials, error) {
	if c.opts.Registries == nil {
		return fleet.Credentials{}, nil
	}
	c.mu.Lock()
	var entry *spec.Registry
	if c.desired != nil {
		entry = c.desired.Fleet.Registry(fleet.Registry(ref))
	}
	c.mu.Unlock()
	return c.opts.Registries.Credentials(ctx, entry, ref)
}

// settled says whether an error is a registry's word, or that there is no such registry: asking again would
// bring the same. An engine calls everything that keeps it from an image by the same name.
func settled(err error) bool {
	var host hostError
	if errors.As(err, &host) {
		return errors.Is(err, fleet.ErrNowhere) || errors.Is(err, fleet.ErrDenied)
	}
	return final(err)
}

// onlyThere is what an image is that no registry was found to have: known by its ID on the hosts that have it.
func onlyThere(r plan.ImageRequest, local plan.Image, missing []string, last error) plan.Image {
	if len(missing) == 0 && len(local.IDs) > 0 && local.Problem == "" {
		return local // it is in no registry that can be asked, and every host has it
	}
	switch {
	case last == nil:
		local.Problem = fmt.Sprintf("image %s: none of its hosts is in reach", r.Image)
	case len(missing) == 0:
		local.Problem = fmt.Sprintf("image %s can't be looked up: %s", r.Image, last)
	default:
		local.Refused = settled(last)
		local.Problem = fmt.Sprintf("image %s isn't on %s and can't be fetched: %s; check the name and the registry, or load it there",
			r.Image, strings.Join(missing, ", "), last)
	}
	// What hosts have under the name is good for them, while the others wait.
	return local
}

// digestOf is the digest that a reference names by itself, with its repository; empty: it names a tag.
func digestOf(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ""
	}
	d, ok := named.(reference.Digested)
	if !ok {
		return ""
	}
	return reference.FamiliarName(named) + "@" + d.Digest().String()
}

func withDigest(ref, digest string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return digest
	}
	return reference.FamiliarName(named) + "@" + digest
}

// repoDigest is the digest under which an image that a host has is known in the reference's repository.
func repoDigest(ref string, digests []string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ""
	}
	for _, d := range digests {
		have, err := reference.ParseNormalizedNamed(d)
		if err == nil && have.Name() == named.Name() {
			return reference.FamiliarString(have)
		}
	}
	return ""
}
