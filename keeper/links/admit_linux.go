package links

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	mdnetlink "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Where the rules of a fleet are.
const (
	chainName = "frames"    // that come to the host
	passing   = "forwarded" // that pass it, such as those of containers, before they get the host's own address
	setName   = "hosts"
)

// chains are those in which frames are looked at.
var chains = []struct {
	name string
	hook *nftables.ChainHook
}{{chainName, nftables.ChainHookInput}, {passing, nftables.ChainHookForward}}

// bufferSize is room for the rules of all networks that Check lets pass, and the kernel's answers.
const bufferSize = 8 << 20

// speak opens the way to the kernel's tables.
func speak() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(c *mdnetlink.Conn) error {
		return errors.Join(c.SetReadBuffer(bufferSize), c.SetWriteBuffer(bufferSize))
	}))
}

func tableOf(fleetName string) *nftables.Table {
	return &nftables.Table{Name: "evenkeel-" + fleetName, Family: nftables.TableFamilyIPv4}
}

// admit has the host drop frames of the fleet's networks that come from anybody but its hosts. The rules are replaced
// whole, at once, and only where they aren't the wanted ones; changed says whether they weren't. Without networks there
// are none.
func admit(want *fleet.Links) (changed bool, err error) {
	c, err := speak()
	if err != nil {
		return false, err
	}
	mark := digest(want)
	there, same, err := admitted(c, want, mark)
	none := len(want.Networks) == 0
	if err != nil || same && !none || !there && none {
		return false, err
	}
	table := tableOf(want.Fleet)
	if there {
		c.DelTable(table)
	}
	if none {
		return true, c.Flush()
	}
	c.AddTable(table)
	hosts := &nftables.Set{Table: table, Name: setName, KeyType: nftables.TypeIPAddr}
	if err := c.AddSet(hosts, elements(want.Hosts)); err != nil {
		return false, fmt.Errorf("the fleet's hosts: %w", err)
	}
	for _, at := range chains {
		chain := c.AddChain(&nftables.Chain{
			Name: at.name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: at.hook, Priority: nftables.ChainPriorityRaw,
		})
		for i := range want.Networks {
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, UserData: mark, Exprs: fromOthers(want, &want.Networks[i], hosts)})
		}
	}
	if err := c.Flush(); err != nil {
		return false, fmt.Errorf("setting the rules of table ip %s: %w", table.Name, err)
	}
	return true, nil
}

// digest is what rules are known by that say the same.
func digest(want *fleet.Links) []byte {
	type link struct{ ID uint32 }
	all := struct {
		Port  uint16
		Links []link
	}{Port: want.Port}
	for _, n := range want.Networks {
		all.Links = append(all.Links, link{n.ID})
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // numbers can always be written
	}
	sum := sha256.Sum256(text)
	return sum[:16]
}

// admitted says whether there are rules, and whether they are the wanted ones.
func admitted(c *nftables.Conn, want *fleet.Links, mark []byte) (there, same bool, err error) {
	table := tableOf(want.Fleet)
	tables, err := c.ListTablesOfFamily(table.Family)
	if err != nil {
		return false, false, fmt.Errorf("listing the kernel's tables: %w", err)
	}
	if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == table.Name }) {
		return false, false, nil
	}
	for _, at := range chains {
		chain, err := c.ListChain(table, at.name)
		if err != nil || chain.Hooknum == nil || *chain.Hooknum != *at.hook {
			return true, false, absent(err)
		}
		rules, err := c.GetRules(table, chain)
		if err != nil || len(rules) != len(want.Networks) {
			return true, false, absent(err)
		}
		for _, r := range rules {
			if !bytes.Equal(r.UserData, mark) {
				return true, false, nil
			}
		}
	}
	set, err := c.GetSetByName(table, setName)
	if err != nil {
		return true, false, absent(err)
	}
	have, err := c.GetSetElements(set)
	if err != nil {
		return true, false, absent(err)
	}
	return true, sameHosts(have, want.Hosts), nil
}

// absent is what reading says of rules that somebody took apart: they are made anew.
func absent(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func elements(hosts []netip.Addr) []nftables.SetElement {
	var list []nftables.SetElement
	for _, a := range hosts {
		list = append(list, nftables.SetElement{Key: a.AsSlice()})
	}
	return list
}

func sameHosts(have []nftables.SetElement, want []netip.Addr) bool {
	distinct := map[netip.Addr]bool{}
	for _, a := range want {
		distinct[a] = true
	}
	for _, e := range have {
		a, _ := netip.AddrFromSlice(e.Key)
		if !distinct[a] {
			return false
		}
	}
	return len(have) == len(distinct)
}

// Where things are in a packet: RFC 791 §3.1, RFC 768, RFC 7348 §5.
const (
	offsetSource = 12 // of the IPv4 header
	offsetPort   = 2  // of the UDP header, which the VXLAN one follows
	offsetID     = 8 + 4
)

// fromOthers matches frames of one network that don't come from a host of the fleet.
func fromOthers(want *fleet.Links, n *fleet.Link, hosts *nftables.Set) []expr.Any {
	id := binary.BigEndian.AppendUint32(nil, n.ID)[1:]
	equal := func(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }
	load := func(base expr.PayloadBase, offset, length uint32) expr.Any {
		return &expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: length}
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{unix.IPPROTO_UDP}),
		load(expr.PayloadBaseTransportHeader, offsetPort, 2), equal(binary.BigEndian.AppendUint16(nil, want.Port)),
		load(expr.PayloadBaseTransportHeader, offsetID, 3), equal(id),
		load(expr.PayloadBaseNetworkHeader, offsetSource, 4),
		&expr.Lookup{SourceRegister: 1, SetName: hosts.Name, SetID: hosts.ID, Invert: true},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}
