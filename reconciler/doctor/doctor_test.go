package doctor_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/doctor"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func network(name, of, environment, subnet string) fleet.Network {
	n := fleet.Network{Name: name, Fleet: of, Environment: environment}
	if subnet != "" {
		n.Subnet = netip.MustParsePrefix(subnet)
	}
	return n
}

// well are the facts of a fleet to which nothing is missing.
func well() doctor.Facts {
	port := uint16(8080)
	f := doctor.Facts{
		Now: noon, KeeperVersion: 2, Repository: doctor.Source{Revision: "8f3c2a1b9d0e"},
		Desired: &spec.Spec{
			Fleet: spec.Fleet{Name: "production", Network: spec.Network{Driver: spec.NetworkVXLAN}, External: []spec.ExternalZone{{Name: "public", Zone: "example.com", TTL: time.Minute}}, Hosts: []spec.Host{
				{Name: "hn1", Endpoint: "ssh://deploy@10.0.0.11", Address: "10.0.0.11", PublicAddresses: []netip.Addr{netip.MustParseAddr("203.0.113.1")}, State: spec.HostActive, Labels: map[string]string{"zone": "a"}},
				{Name: "hn2", Endpoint: "tcp://10.0.0.12:2376", Address: "10.0.0.12", State: spec.HostActive},
			}},
			Environments: []spec.Environment{{Name: "shop", DNS: []spec.ExternalName{{Name: "shop.example.com", Type: spec.RecordA, Layer: "web", Zone: "public"}}, Layers: []spec.Layer{{
				Name: "web", Image: "shop/web:1", Replicas: 2, Limit: spec.Resources{Memory: 1 << 30, CPU: 500},
				Ports:     []spec.Port{{Name: "http", Port: 80, Protocol: spec.TCP, Publish: &port}},
				Placement: spec.Placement{Hosts: map[string]string{"zone": "a"}},
			}}}},
		},
		Plan:   &plan.Plan{},
		Zones:  []doctor.Zone{{Name: "public", Zone: "example.com", Read: true}},
		Images: []doctor.Image{{Ref: "shop/web:1", On: []string{"hn1"}}},
	}
	for i, name := range []string{"hn1", "hn2"} {
		f.Observed.Hosts = append(f.Observed.Hosts, fleet.HostState{
			Name: name, Reachable: true,
			Engine:  fleet.Engine{ID: name, OS: "linux", Arch: "amd64", StorageDriver: "overlay2"},
			Keepers: []fleet.KeeperContainer{{Name: fleet.KeeperName("production"), Version: 2, State: fleet.StateRunning}},
			Keeper:  &fleet.KeeperState{Version: 2},
			Links:   &fleet.LinksContainer{Name: "evenkeel-links-production", Version: 2, State: fleet.StateRunning},
			Instances: []fleet.Instance{{
				NodeID: fleet.NodeID{Environment: "shop", Layer: "web", Node: i + 1}, Host: name, Generation: 1,
				State: fleet.StateRunning, Health: fleet.HealthHealthy, StartedAt: noon,
			}},
			Networks: []fleet.Network{network("bridge", "", "", "172.17.0.0/16"), network("evenkeel_production_shop", "production", "shop", "10.112.4.0/22")},
		})
		f.Hosts = append(f.Hosts, doctor.Patient{
			Name: name, Room: &fleet.Room{Free: 40 << 30, Total: 80 << 30},
			Certificates: []fleet.Certificate{{What: "the engine's", Subject: "CN=" + name, From: noon.AddDate(-1, 0, 0), Until: noon.AddDate(1, 0, 0)}},
			Checkup: &fleet.Checkup{
				Skew: 40 * time.Millisecond, Within: 20 * time.Millisecond, RootDir: "/var/lib/docker", LogDriver: "json-file",
				LiveRestore: true, Forwarding: true, MemoryLimit: true, SwapLimit: true, CPUQuota: true, PidsLimit: true,
				Occupants: []fleet.Occupant{{Name: "production_shop_web_1_g1", Fleet: "production", Ports: []fleet.Published{{Port: 80, Protocol: spec.TCP, HostPort: 8080}}}},
			},
		})
	}
	return f
}

func TestAFleetThatIsWellHasNothingToSay(t *testing.T) {
	r := doctor.Examine(well())
	require.Empty(t, r.Findings)
	require.True(t, r.Well)
	require.Equal(t, doctor.Checked{Hosts: 2, Reached: 2, Keepers: 2, Environments: 1, Images: 1, Zones: 1}, r.Checked)
	require.Equal(t, "production", r.Fleet)
}

// fault is one thing that is wrong, and what is to be said of it.
type fault struct {
	name     string
	make     func(f *doctor.Facts)
	severity doctor.Severity
	area     doctor.Area
	host     string
	says     string
	remedy   string
}

func hn(f *doctor.Facts, i int) (*doctor.Patient, *fleet.HostState) {
	return &f.Hosts[i-1], &f.Observed.Hosts[i-1]
}

var faults = []fault{
	{"a repository with files that aren't committed", func(f *doctor.Facts) { f.Repository.Warnings = []string{"not committed: shop.yaml"} },
		doctor.Warning, doctor.Repository, "", "not committed: shop.yaml", "git status"},
	{"a spec with a warning", func(f *doctor.Facts) {
		f.Desired.Warnings = []spec.Problem{{File: "shop.yaml", Line: 3, Column: 1, Message: "no host has the label"}}
	}, doctor.Warning, doctor.Spec, "", "shop.yaml:3:1: no host has the label", "unless it is meant"},
	{"plain text", func(f *doctor.Facts) { f.Desired.Fleet.Hosts[1].Insecure = true }, doctor.Warning, doctor.Host, "hn2", "in plain text", "`tls`"},
	{"one engine twice", func(f *doctor.Facts) { _, st := hn(f, 2); st.Engine.ID = "hn1" }, doctor.Problem, doctor.Host, "", "hn1 and hn2 are one engine", "engine-id"},
	{"an expired certificate", func(f *doctor.Facts) { p, _ := hn(f, 1); p.Certificates[0].Until = noon.Add(-time.Hour) },
		doctor.Problem, doctor.Certificate, "hn1", "the engine's has expired on 2026-11-20", "renew it"},
	{"a certificate that expires", func(f *doctor.Facts) { p, _ := hn(f, 1); p.Certificates[0].Until = noon.AddDate(0, 0, 20) },
		doctor.Warning, doctor.Certificate, "hn1", "expires on 2026-12-10, in 20 days", "renew it"},
	{"a certificate of tomorrow", func(f *doctor.Facts) { p, _ := hn(f, 1); p.Certificates[0].From = noon.Add(time.Hour) },
		doctor.Problem, doctor.Certificate, "hn1", "isn't valid before 2026-11-20T13:00:00Z", "clock"},
	{"a certificate that isn't there", func(f *doctor.Facts) { p, _ := hn(f, 1); p.Certificates[0].Problem = "no such file" },
		doctor.Problem, doctor.Certificate, "hn1", "can't be read: no such file", "`tls`"},
	{"a key that all can read", func(f *doctor.Facts) { p, _ := hn(f, 1); p.Certificates[0].Insecure = true },
		doctor.Warning, doctor.Certificate, "hn1", "can be read by others", "chmod 600"},
	{"an engine that answers in part", func(f *doctor.Facts) { p, _ := hn(f, 2); p.Checkup, p.Problem = nil, "listing volumes on hn2: broken" },
		doctor.Warning, doctor.Engine, "hn2", "listing volumes on hn2: broken", "the engine's log"},
	{"a storage driver of old", func(f *doctor.Facts) { _, st := hn(f, 1); st.Engine.StorageDriver = "devicemapper" }, doctor.Warning, doctor.Engine, "hn1", "devicemapper", "overlay2"},
	{"copies of images", func(f *doctor.Facts) { _, st := hn(f, 2); st.Engine.StorageDriver = "vfs" }, doctor.Warning, doctor.Engine, "hn2", "vfs", "overlay2"},
	{"Windows", func(f *doctor.Facts) { _, st := hn(f, 2); st.Engine.OS = "windows" }, doctor.Problem, doctor.Engine, "hn2", "windows", "linux"},
	{"no forwarding", func(f *doctor.Facts) { p, _ := hn(f, 1); p.Checkup.Forwarding = false }, doctor.Problem, doctor.Engine, "hn1", "forwards no IPv4", "sysctl"},
	{"no live-restore", func(f *doctor.Facts) { p, _ := hn(f, 1); p.Checkup.LiveRestore = false }, doctor.Advice, doctor.Engine, "hn1", "a restart of its engine", "live-restore"},
	{"no memory limits", func(f *doctor.Facts) { p, _ := hn(f, 1); p.Checkup.MemoryLimit = false }, doctor.Warning, doctor.Engine, "hn1", "no limits for memory", "cgroup"},
	{"no limits for processes", func(f *doctor.Facts) { p, _ := hn(f, 1); p.Checkup.PidsLimit = false }, doctor.Warning, doctor.Engine, "hn1", "the number of processes", "cgroup"},
	{"no logs", func(f *doctor.Facts) { p, _ := hn(f, 1); p.Checkup.LogDriver = "none" }, doctor.Advice, doctor.Engine, "hn1", "no logs", "log-driver"},
	{"rootless", func(f *doctor.Facts) { p, _ := hn(f, 1); p.Checkup.Rootless = true }, doctor.Warning, doctor.Engine, "hn1", "rootless", "root"},
	{"what the engine warns of", func(f *doctor.Facts) {
		p, _ := hn(f, 1)
		p.Checkup.Warnings = []string{"WARNING: No swap limit support", "WARNING: the moon is full"}
	}, doctor.Warning, doctor.Engine, "hn1", "the engine says: the moon is full", "daemon.json"},
	{"a clock ahead", func(f *doctor.Facts) {
		p, _ := hn(f, 1)
		p.Checkup.Skew, p.Checkup.Within = 7*time.Second, 30*time.Millisecond
	},
		doctor.Warning, doctor.Clock, "hn1", "7s ahead of this machine's (give or take 30ms)", "timedatectl"},
	{"a clock far behind", func(f *doctor.Facts) { p, _ := hn(f, 1); p.Checkup.Skew = -time.Hour }, doctor.Problem, doctor.Clock, "hn1", "1h0m0s behind", "timedatectl"},
	{"a full disk", func(f *doctor.Facts) { p, _ := hn(f, 1); p.Room = &fleet.Room{Free: 100 << 20, Total: 80 << 30} },
		doctor.Problem, doctor.Disk, "hn1", "100Mi of 80Gi are free where its engine keeps its data (/var/lib/docker)", "docker system df"},
	{"a disk that fills", func(f *doctor.Facts) { p, _ := hn(f, 1); p.Room = &fleet.Room{Free: 3 << 30, Total: 80 << 30} },
		doctor.Warning, doctor.Disk, "hn1", "3Gi of 80Gi", "docker system df"},
	{"a disk that nobody tells of", func(f *doctor.Facts) { p, _ := hn(f, 1); p.Room = nil }, doctor.Advice, doctor.Disk, "hn1", "isn't known", "replaces the keeper"},
	{"no keeper", func(f *doctor.Facts) { _, st := hn(f, 2); st.Keepers, st.Keeper = nil, nil }, doctor.Problem, doctor.Keeper, "hn2", "its keeper is gone: its 1 container", "evenkeel apply"},
	{"joined hosts without links", func(f *doctor.Facts) {
		_, st := hn(f, 2)
		st.Links = nil
	}, doctor.Problem, doctor.Links, "hn2", "what joins it to the other hosts isn't there", "evenkeel apply"},
	{"joined hosts with links that were stopped", func(f *doctor.Facts) {
		_, st := hn(f, 1)
		st.Links.State = fleet.StateExited
	}, doctor.Problem, doctor.Links, "hn1", "evenkeel-links-production, is exited", "evenkeel apply"},
	{"a keeper that was stopped", func(f *doctor.Facts) {
		_, st := hn(f, 2)
		st.Keepers[0].State, st.Keeper = fleet.StateExited, nil
	}, doctor.Problem, doctor.Keeper, "hn2", "is exited", "evenkeel apply"},
	{"a keeper that says nothing", func(f *doctor.Facts) {
		_, st := hn(f, 2)
		st.Keeper, st.KeeperProblem = nil, "no hello"
		f.Plan.Refused = append(f.Plan.Refused, plan.KeeperSilent("hn2", "no hello"))
	}, doctor.Problem, doctor.Keeper, "hn2", "no hello", "docker restart evenkeel-keeper-production"},
	{"two keepers", func(f *doctor.Facts) {
		_, st := hn(f, 2)
		st.Keepers = append(st.Keepers, fleet.KeeperContainer{Name: "evenkeel-keeper-production-next", Version: 2, State: fleet.StateRunning})
	}, doctor.Warning, doctor.Keeper, "hn2", "it has 2 keepers", "evenkeel apply"},
	{"a keeper of tomorrow", func(f *doctor.Facts) { _, st := hn(f, 2); st.Keeper.Version = 3 }, doctor.Warning, doctor.Keeper, "hn2", "newer than this evenkeel's 2", "a newer one"},
	{"a keeper of yesterday", func(f *doctor.Facts) { _, st := hn(f, 2); st.Keeper.Version = 1 }, doctor.Advice, doctor.Keeper, "hn2", "is of version 1", "without a lookup lost"},
	{"a keeper in trouble", func(f *doctor.Facts) { _, st := hn(f, 2); st.Keeper.Problems = []string{"no space left"} }, doctor.Problem, doctor.Keeper, "hn2", "no space left", "disk"},
	{"no program for the host", func(f *doctor.Facts) { p, st := hn(f, 2); p.NoProgram, st.Engine.Arch = "none for riscv64", "riscv64" },
		doctor.Problem, doctor.Keeper, "hn2", "none for riscv64", "evenkeel-linux-riscv64"},
	{"an address in an environment's network", func(f *doctor.Facts) { f.Desired.Fleet.Hosts[1].Address = "10.112.5.9" }, doctor.Problem, doctor.Address, "hn2", "10.112.4.0/22, the network of environment shop", "another address"},
	{"a network in an environment's", func(f *doctor.Facts) {
		_, st := hn(f, 1)
		st.Networks = append(st.Networks, network("corp", "", "", "10.112.0.0/16"))
	}, doctor.Problem, doctor.Address, "hn1", "network corp (10.112.0.0/16) overlaps 10.112.4.0/22", "docker network rm corp"},
	{"a port that a container has", func(f *doctor.Facts) {
		p, _ := hn(f, 1)
		p.Checkup.Occupants = []fleet.Occupant{{Name: "nginx", Ports: []fleet.Published{{Port: 80, Protocol: spec.TCP, HostPort: 8080}}}}
	}, doctor.Problem, doctor.Port, "hn1", "port 8080, which shop/web publishes, is taken by container nginx, which isn't evenkeel's", "placement.hosts"},
	{"a port that another fleet has", func(f *doctor.Facts) {
		p, _ := hn(f, 1)
		p.Checkup.Occupants = []fleet.Occupant{{Name: "old_shop_web_1_g1", Fleet: "old", Ports: []fleet.Published{{Port: 80, Protocol: spec.TCP, HostPort: 8080}}}}
	}, doctor.Problem, doctor.Port, "hn1", "container old_shop_web_1_g1 of fleet old", "placement.hosts"},
	{"a port that a process has", func(f *doctor.Facts) {
		p, _ := hn(f, 1)
		p.Checkup.Occupants, f.Listens = nil, []doctor.HostPort{{Host: "hn1", Port: 8080}}
	}, doctor.Problem, doctor.Port, "hn1", "something that is no container", "another port"},
	{"a registry that refuses", func(f *doctor.Facts) { f.Images[0].Problem, f.Images[0].Denied = "refused user ci", true }, doctor.Problem, doctor.Registry, "", "refused user ci", "docker login docker.io"},
	{"an image that no registry has", func(f *doctor.Facts) { f.Images[0].Problem, f.Images[0].Absent = "not there", true }, doctor.Advice, doctor.Registry, "", "not there", "only hn1 has it"},
	{"an image that nobody has", func(f *doctor.Facts) {
		f.Images[0].Problem, f.Images[0].Absent, f.Images[0].On = "nowhere", true, nil
	}, doctor.Problem, doctor.Registry, "", "nowhere", "push the image"},
	{"a registry that is down", func(f *doctor.Facts) { f.Images[0].Problem = "refused" }, doctor.Warning, doctor.Registry, "", "refused", "is up"},
	{"a registry that is down and needed", func(f *doctor.Facts) { f.Images[0].Problem, f.Images[0].On = "no route", nil }, doctor.Problem, doctor.Registry, "", "no route", "is up"},
	{"nodes that wait for an image", func(f *doctor.Facts) {
		f.Images[0].Problem, f.Images[0].Absent, f.Images[0].On = "not found in it", true, nil
		f.Plan.Layers = append(f.Plan.Layers, plan.Layer{Environment: "shop", Layer: "web", Waiting: []plan.Waiting{
			{Node: 1, Reason: "image shop/web:1 isn't on hn1 and can't be fetched: not found in it; load it there"}, {Node: 2, Reason: "image shop/web:1 is being looked up"},
		}})
	}, doctor.Problem, doctor.Registry, "", "not found in it; nodes of shop/web wait for it", "push the image"},
	{"a token that is refused", func(f *doctor.Facts) {
		f.Zones[0].Problem, f.Zones[0].Denied, f.Zones[0].Read = "Cloudflare refuses the token", true, false
		f.Plan.Refused = append(f.Plan.Refused, plan.ZoneUnknown("example.com", "Cloudflare refuses the token"))
	}, doctor.Problem, doctor.DNS, "", "refuses the token", "Zone.DNS: Edit"},
	{"a token that isn't set", func(f *doctor.Facts) {
		f.Zones[0].Problem, f.Zones[0].Denied, f.Zones[0].Unset, f.Zones[0].Read = "the environment variable TOKEN isn't set", true, true, false
	}, doctor.Problem, doctor.DNS, "", "isn't set", "set the variable or write the file"},
	{"a token that may only read", func(f *doctor.Facts) { f.Zones[0].Problem, f.Zones[0].Denied = "and not edit them", true }, doctor.Problem, doctor.DNS, "", "not edit", "Zone.DNS: Edit"},
	{"a provider that doesn't answer", func(f *doctor.Facts) { f.Zones[0].Problem, f.Zones[0].Read = "no answer within 30s", false }, doctor.Problem, doctor.DNS, "", "no answer", "`baseURL`"},
	{"a key that is refused", func(f *doctor.Facts) {
		f.Desired.Fleet.External[0].Provider = spec.ProviderRFC2136
		f.Zones[0].Problem, f.Zones[0].Denied, f.Zones[0].Read = "it refuses that to the TSIG key", true, false
	}, doctor.Problem, doctor.DNS, "", "refuses that", "may transfer the zone and change it there"},
	{"a key that isn't set", func(f *doctor.Facts) {
		f.Desired.Fleet.External[0].Provider = spec.ProviderRFC2136
		f.Zones[0].Problem, f.Zones[0].Denied, f.Zones[0].Unset, f.Zones[0].Read = "the environment variable TSIG isn't set", true, true, false
	}, doctor.Problem, doctor.DNS, "", "isn't set", "tsig.secretFrom"},
	{"a name server that doesn't answer", func(f *doctor.Facts) {
		f.Desired.Fleet.External[0].Provider = spec.ProviderRFC2136
		f.Zones[0].Problem, f.Zones[0].Read = "no answer within 10s", false
	}, doctor.Problem, doctor.DNS, "", "no answer", "the zone's primary name server"},
	{"a name that others have", func(f *doctor.Facts) {
		f.Zones[0].Records = []fleet.DNSRecord{{ID: "1", Name: "shop.example.com", Type: fleet.TypeCNAME, Content: "elsewhere.example.net"}}
		wanted := names.Desired(names.Wishes{Desired: f.Desired, Observed: f.Observed})["public"]
		for _, c := range names.Compute(names.Zone{Fleet: "production", Name: "example.com", Records: f.Zones[0].Records}, wanted).Conflicts {
			f.Plan.Refused = append(f.Plan.Refused, plan.InTheWay("example.com", c))
		}
	}, doctor.Problem, doctor.DNS, "", "shop.example.com of shop: ", "only its own records"},
	{"a name that others share", func(f *doctor.Facts) {
		f.Zones[0].Records = []fleet.DNSRecord{{ID: "1", Name: "shop.example.com", Type: fleet.TypeA, Content: "198.51.100.7"}}
	}, doctor.Warning, doctor.DNS, "", "198.51.100.7", "unless clients are to be led there"},
	{"another fleet", func(f *doctor.Facts) {
		p, st := hn(f, 1)
		st.OtherFleets = map[string]int{"old": 3}
		st.Networks = append(st.Networks, network("evenkeel_old_shop", "old", "shop", ""), network("0-evenkeel-old", "old", "", ""))
		p.Checkup.Volumes = map[string][]string{"old": {"old_shop_db_1_data"}, "production": {"production_shop_db_1_data"}}
		p.Checkup.Containers = map[string][]string{"old": {"evenkeel-keeper-old", "old_shop_web_1_g1", "old_shop_web_2_g1"}}
		f.Plan.Warnings = append(f.Plan.Warnings, plan.Carries("hn1", 3, "old"))
	}, doctor.Warning, doctor.Fleet, "hn1", `2 containers, 1 keeper, 2 networks, 1 volume of fleet "old"`, "evenkeel uninstall"},
	{"a pause", func(f *doctor.Facts) {
		f.Plan.Layers = append(f.Plan.Layers, plan.Layer{Environment: "shop", Layer: "web", Paused: "node 3 failed its gate"})
	}, doctor.Problem, doctor.Node, "", "paused: node 3 failed its gate", "`redeploy`"},
	{"nodes that wait", func(f *doctor.Facts) {
		f.Plan.Layers = append(f.Plan.Layers, plan.Layer{Environment: "shop", Layer: "db", Waiting: []plan.Waiting{{Node: 1, Reason: "no room"}, {Node: 2, Reason: "no room"}}})
	}, doctor.Problem, doctor.Node, "", "wait: no room", "evenkeel plan"},
	{"a plan that is refused", func(f *doctor.Facts) { f.Plan.Refused = append(f.Plan.Refused, "would remove all") }, doctor.Problem, doctor.Node, "", "would remove all", "evenkeel plan"},
	{"a plan that warns", func(f *doctor.Facts) { f.Plan.Warnings = append(f.Plan.Warnings, "on 2 hosts") }, doctor.Warning, doctor.Node, "", "on 2 hosts", "evenkeel plan"},
}

func TestEachFault(t *testing.T) {
	for _, tt := range faults {
		t.Run(tt.name, func(t *testing.T) {
			f := well()
			tt.make(&f)
			r := doctor.Examine(f)
			require.Len(t, r.Findings, 1)
			said(t, r, tt)
			require.Equal(t, tt.severity != doctor.Problem, r.Well)
		})
	}
}

func said(t *testing.T, r doctor.Report, want fault) {
	t.Helper()
	var texts []string
	for _, f := range r.Findings {
		texts = append(texts, f.Host+": "+f.What+" → "+f.Remedy)
		if f.Severity == want.severity && f.Area == want.area && f.Host == want.host && strings.Contains(f.What, want.says) && strings.Contains(f.Remedy, want.remedy) {
			return
		}
	}
	require.Failf(t, "not said", "%s: %s %s\n%s", want.name, want.severity, want.says, strings.Join(texts, "\n"))
}

// No fault hides what is wrong on another host, nor in another area.
func TestFaultsHideNoOthers(t *testing.T) {
	for _, first := range faults {
		for _, second := range faults {
			if first.host == second.host && first.area == second.area || first.host != "" && second.host == first.host {
				continue
			}
			f := well()
			first.make(&f)
			second.make(&f)
			r := doctor.Examine(f)
			said(t, r, first)
			said(t, r, second)
		}
	}
}

func TestAHostOutOfReach(t *testing.T) {
	f := well()
	p, st := hn(&f, 1)
	*st = fleet.HostState{Name: "hn1", Problem: "the SSH host key of 10.0.0.11:22 is another"}
	p.Checkup, p.Room = nil, nil
	f.Plan.Refused = []string{plan.OutOfReach("hn1", st.Problem)}
	r := doctor.Examine(f)
	require.Len(t, r.Findings, 1, "what the plan says of it isn't said again")
	said(t, r, fault{"", nil, doctor.Problem, doctor.Host, "hn1", "the SSH host key of 10.0.0.11:22 is another", "`ssh deploy@10.0.0.11 docker version` must answer"})
	require.Equal(t, 1, r.Checked.Reached)

	for endpoint, tries := range map[string]string{
		"tcp://10.0.0.11:2376":                  "`docker -H tcp://10.0.0.11:2376 version`",
		"unix:///run/docker.sock":               "`docker -H unix:///run/docker.sock version`",
		"ssh://deploy@hn1:2222/run/docker.sock": "`ssh -p 2222 deploy@hn1 docker version`",
		"ssh://deploy@[2001:db8::7]:2222":       "`ssh -p 2222 deploy@2001:db8::7 docker version`",
		"ssh://deploy@[2001:db8::7]":            "`ssh deploy@2001:db8::7 docker version`",
	} {
		f.Desired.Fleet.Hosts[0].Endpoint = endpoint
		require.Contains(t, doctor.Examine(f).Findings[0].Remedy, tries)
	}

	p.Unasked = "ssh.key: id is a file of the credentials directory"
	r = doctor.Examine(f)
	require.Len(t, r.Findings, 1)
	said(t, r, fault{"", nil, doctor.Problem, doctor.Host, "hn1", "id is a file of the credentials directory", "--credentials-dir"})
}

func TestWithoutARepository(t *testing.T) {
	r := doctor.Examine(doctor.Facts{Now: noon, Repository: doctor.Source{Problem: "reading .: no commits", Remedy: "commit something"}})
	require.Len(t, r.Findings, 1)
	said(t, r, fault{"", nil, doctor.Problem, doctor.Repository, "", "no commits", "commit something; the hosts can be checked once"})
	require.False(t, r.Well)
}

// What is wrong with the documents hides nothing of the hosts, as far as the Fleet says which there are.
func TestAnInvalidSpec(t *testing.T) {
	f := well()
	f.Problems = spec.Problems{{File: "shop.yaml", Line: 7, Column: 5, Message: "unknown key"}, {File: "shop.yaml", Line: 9, Column: 5, Message: "is missing"}}
	f.Desired.Environments, f.Plan, f.Images = nil, nil, nil
	p, _ := hn(&f, 1)
	p.Checkup.Forwarding = false
	r := doctor.Examine(f)
	require.Len(t, r.Findings, 3)
	require.Equal(t, "shop.yaml:7:5: unknown key", r.Findings[0].What)
	require.Equal(t, doctor.Engine, r.Findings[2].Area)
}

func TestARenamedFleet(t *testing.T) {
	f := well()
	f.Desired.Fleet.Name = "prod"
	for i := range f.Observed.Hosts {
		st := &f.Observed.Hosts[i]
		st.Instances, st.Keepers, st.Keeper, st.OtherFleets = nil, nil, nil, map[string]int{"production": 2}
	}
	r := doctor.Examine(f)
	said(t, r, fault{"", nil, doctor.Problem, doctor.Fleet, "hn1", `it has an environment shop as well, and of "prod" there is nothing anywhere`, `name it back to "production"`})
	require.False(t, r.Well)
}

// What is in the way of names is told before anything is made.
func TestWhatWillBeInTheWayOfANameIsTold(t *testing.T) {
	f := well()
	for i := range f.Observed.Hosts {
		f.Observed.Hosts[i].Instances = nil
	}
	f.Zones[0].Records = []fleet.DNSRecord{{ID: "1", Name: "shop.example.com", Type: fleet.TypeCNAME, Content: "elsewhere.example.net"}}
	require.Empty(t, doctor.Examine(f).Findings, "nothing leads anywhere")
	id := fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}
	f.Plan.Layers = []plan.Layer{{Environment: "shop", Layer: "web", Operations: []plan.Operation{{ID: id, Kind: plan.Create, Host: "hn1"}}}}
	said(t, doctor.Examine(f), fault{"", nil, doctor.Problem, doctor.DNS, "", "shop.example.com of shop: ", "only its own records"})
}

// A clock can't be told to be off by less than the way there and back took.
func TestASlowWayIsNoSkew(t *testing.T) {
	f := well()
	p, _ := hn(&f, 1)
	p.Checkup.Skew, p.Checkup.Within = 3*time.Second, 2*time.Second
	require.Empty(t, doctor.Examine(f).Findings)
}

// Ports are tried only where a layer may be placed and no container is known to have them.
func TestPortsToTry(t *testing.T) {
	f := well()
	require.Empty(t, doctor.ToTry(f.Desired, f.Hosts))
	for i := range f.Hosts {
		f.Hosts[i].Checkup.Occupants = nil
	}
	require.Equal(t, []doctor.HostPort{{Host: "hn1", Port: 8080}}, doctor.ToTry(f.Desired, f.Hosts), "hn2 is in another zone")
	f.Desired.Environments[0].Layers[0].Ports[0].Protocol = spec.UDP
	require.Empty(t, doctor.ToTry(f.Desired, f.Hosts), "nobody answers on udp")
}
