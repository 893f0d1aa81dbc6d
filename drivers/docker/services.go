package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

const (
	// helperTime is how long a helper may take whose caller says nothing.
	helperTime = time.Minute
	// helperOutput is the most that is read of what a helper says.
	helperOutput = 1 << 20
	// servicePids is far more than a keeper has threads.
	servicePids = 4096
)

// CreateService creates one of evenkeel's own containers and does not start it. One that an earlier call
// with a lost reply has left is returned as created; a name that something else has is a ConflictError.
func (h *Host) CreateService(ctx context.Context, v fleet.Service) (string, error) {
	return call(ctx, h, h.write("creating container "+v.Name), func(ctx context.Context, s *session) (string, error) {
		if err := h.ensureVolumes(ctx, s, v.Volumes, v.Labels[fleet.LabelFleet]); err != nil {
			return "", err
		}
		config, hostConfig, networking := serviceConfig(v)
		created, err := s.ContainerCreate(ctx, config, hostConfig, networking, nil, v.Name)
		if errdefs.IsConflict(err) {
			return h.adopt(ctx, s, fleet.Container{Name: v.Name, Labels: v.Labels})
		}
		return created.ID, err
	})
}

func serviceConfig(v fleet.Service) (*container.Config, *container.HostConfig, *network.NetworkingConfig) {
	pids := int64(servicePids)
	init := false
	config := &container.Config{Image: v.Image, Cmd: v.Command, Labels: v.Labels}
	hostConfig := &container.HostConfig{
		NetworkMode:   container.NetworkMode(v.Network),
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(v.Restart)},
		LogConfig:     container.LogConfig{Type: "none"},
		AutoRemove:    v.AutoRemove, Mounts: mounts(v.Volumes, nil), Sysctls: v.Sysctls, Init: &init,
		CapAdd: v.Capabilities, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
		Resources: container.Resources{PidsLimit: &pids},
	}
	if v.LogMaxSize != "" {
		hostConfig.LogConfig = container.LogConfig{Type: "local", Config: map[string]string{"max-size": v.LogMaxSize, "max-file": "1", "compress": "false"}}
	}
	if v.HostNetwork {
		hostConfig.NetworkMode, hostConfig.UsernsMode = "host", "host" // an engine with remapped users refuses one without the other
		return config, hostConfig, nil
	}
	if v.InNetworkOf != "" {
		hostConfig.NetworkMode = container.NetworkMode("container:" + v.InNetworkOf)
		return config, hostConfig, nil
	}
	if v.Network == "" {
		hostConfig.NetworkMode = "none"
	}
	return config, hostConfig, networking(v.Network, v.Address)
}

// RunHelper runs a short-lived container to its end and returns what it wrote to its standard output; an
// exit status other than 0 is an ExecError, which holds its standard error. The container is removed
// whatever happens; one that an earlier run has left under the same name gives way. Without a deadline in
// ctx it has a minute.
func (h *Host) RunHelper(ctx context.Context, v fleet.Service) (stdout string, err error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, helperTime)
		defer cancel()
	}
	v.AutoRemove = true // also where this process dies before it is removed
	id, err := h.CreateService(ctx, v)
	var conflict *ConflictError
	if errors.As(err, &conflict) && leftHelper(conflict, v) && h.Remove(ctx, conflict.ID) == nil {
		id, err = h.CreateService(ctx, v)
	}
	if err != nil {
		return "", err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*h.opts.Timeout)
		defer cancel()
		err = errors.Join(err, h.Remove(ctx, id))
	}()
	run := &helperRun{host: h, id: id, argv: v.Command}
	return run.run(ctx)
}

func leftHelper(c *ConflictError, v fleet.Service) bool {
	return c.Labels[fleet.LabelRole] == fleet.RoleHelper && c.Labels[fleet.LabelFleet] == v.Labels[fleet.LabelFleet]
}

// helperRun is one run of a helper whose container exists.
type helperRun struct {
	host *Host
	id   string
	argv []string
}

// run attaches before the start, so that nothing is missed, and reads to the end.
func (r *helperRun) run(ctx context.Context) (string, error) {
	h := r.host
	attached, err := r.attach(ctx)
	if err != nil {
		return "", err
	}
	defer attached.Close()
	s, err := h.session(ctx)
	if err != nil {
		return "", h.fail(ctx, err, r.doing(), 0)
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	exited, failed := s.ContainerWait(waiting, r.id, container.WaitConditionNextExit)
	if err := h.Start(ctx, r.id); err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	cut := context.AfterFunc(ctx, func() { _ = attached.Conn.SetDeadline(time.Unix(1, 0)) })
	defer cut()
	_, err = stdcopy.StdCopy(&stdout, &stderr, io.LimitReader(attached.Reader, helperOutput))
	if err != nil || ctx.Err() != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", h.fail(ctx, err, r.doing(), 0)
	}
	select {
	case end := <-exited:
		if end.StatusCode == 0 {
			return stdout.String(), nil
		}
		return stdout.String(), &ExecError{Host: h.name, Argv: r.argv, ExitCode: int(end.StatusCode), Stderr: string(bytes.TrimSpace(stderr.Bytes()))}
	case err := <-failed:
		return "", h.fail(ctx, err, r.doing(), 0)
	}
}

func (r *helperRun) doing() operation {
	return operation{doing: fmt.Sprintf("running helper %s", short(r.id))}
}

func (r *helperRun) attach(ctx context.Context) (types.HijackedResponse, error) {
	return call(ctx, r.host, r.host.read("attaching to helper "+short(r.id)), func(ctx context.Context, s *session) (types.HijackedResponse, error) {
		ctx, u := withUpgrade(ctx)
		attached, err := s.ContainerAttach(ctx, r.id, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
		return attached, u.finish(ctx, attached, err)
	})
}
