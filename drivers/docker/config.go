package docker

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// containerConfig says all that is asked for in the engine's words. Nothing is left to the engine's
// defaults that the safe default speaks of.
func containerConfig(c fleet.Container) (*container.Config, *container.HostConfig, *network.NetworkingConfig) {
	seconds := wholeSeconds(c.StopGrace)
	exposed, bindings := ports(c.Ports, c.Exposed)
	config := &container.Config{
		Hostname: c.Hostname, Domainname: c.Domainname, User: c.User, Env: c.Env,
		Cmd: c.Command, Entrypoint: c.Entrypoint, WorkingDir: c.WorkingDir, Image: c.Image, Labels: c.Labels,
		ExposedPorts: exposed, StopSignal: c.StopSignal, StopTimeout: &seconds, Healthcheck: healthcheck(c),
	}
	hostConfig := &container.HostConfig{
		NetworkMode: container.NetworkMode(c.Network), PortBindings: bindings,
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(c.Restart)},
		LogConfig:     container.LogConfig{Type: c.Logging.Driver, Config: c.Logging.Options},
		DNS:           texts(c.DNS), DNSOptions: c.DNSOpts, DNSSearch: c.Search,
		CapAdd: c.Capabilities, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
		ReadonlyRootfs: c.ReadOnly, Tmpfs: tmpfs(c.Tmpfs), Mounts: mounts(c.Volumes, c.HostPaths),
		Init: &c.Init, Resources: resources(c.Limits),
	}
	if c.Privileged {
		hostConfig.Privileged, hostConfig.CapAdd, hostConfig.CapDrop, hostConfig.SecurityOpt = true, nil, nil, nil
	}
	for _, u := range c.Ulimits {
		hostConfig.Ulimits = append(hostConfig.Ulimits, &container.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	return config, hostConfig, networking(c.Network, c.Address)
}

func healthcheck(c fleet.Container) *container.HealthConfig {
	if c.Exec != nil && c.Exec.Exec != nil {
		return &container.HealthConfig{
			Test:     append([]string{"CMD"}, c.Exec.Exec.Command...),
			Interval: c.Exec.Interval, Timeout: c.Exec.Timeout, Retries: c.Exec.Retries, StartPeriod: c.Exec.StartPeriod,
		}
	}
	if c.NoHealthCheck {
		return &container.HealthConfig{Test: []string{"NONE"}}
	}
	return nil
}

func ports(publish, expose []fleet.Published) (nat.PortSet, nat.PortMap) {
	set, bindings := nat.PortSet{}, nat.PortMap{}
	for _, p := range expose {
		set[port(p)] = struct{}{}
	}
	for _, p := range publish {
		set[port(p)] = struct{}{}
		b := nat.PortBinding{}
		if p.HostPort != 0 {
			b.HostPort = strconv.Itoa(int(p.HostPort))
		}
		bindings[port(p)] = append(bindings[port(p)], b)
	}
	return set, bindings
}

func port(p fleet.Published) nat.Port {
	protocol := p.Protocol
	if protocol == "" {
		protocol = spec.TCP
	}
	return nat.Port(strconv.Itoa(int(p.Port)) + "/" + string(protocol))
}

func mounts(volumes []fleet.Mount, paths []spec.HostPath) []mount.Mount {
	var list []mount.Mount
	for _, v := range volumes {
		list = append(list, mount.Mount{
			Type: mount.TypeVolume, Source: v.Name, Target: v.Target, VolumeOptions: &mount.VolumeOptions{Labels: v.Labels},
		})
	}
	for _, p := range paths {
		list = append(list, mount.Mount{Type: mount.TypeBind, Source: p.Source, Target: p.Target, ReadOnly: p.ReadOnly})
	}
	return list
}

func tmpfs(list []string) map[string]string {
	m := make(map[string]string, len(list))
	for _, t := range list {
		path, options, _ := strings.Cut(t, ":")
		m[path] = options
	}
	return m
}

// networking attaches to one network, by its name, without aliases: Docker would serve those itself.
func networking(name string, addr netip.Addr) *network.NetworkingConfig {
	if name == "" {
		return nil
	}
	return &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{name: endpointSettings(addr)}}
}

func endpointSettings(addr netip.Addr) *network.EndpointSettings {
	e := &network.EndpointSettings{}
	if addr.IsValid() {
		e.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: addr.String()}
	}
	return e
}

func texts(addrs []netip.Addr) []string {
	var list []string
	for _, a := range addrs {
		list = append(list, a.String())
	}
	return list
}
