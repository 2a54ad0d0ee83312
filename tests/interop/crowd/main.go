// Crowd is many nodes of the interop tests in one process: of each only what speaks to the control
// server, as the stock client has it. They begin to join one by one, and again whenever it fails.
//
// It answers each line of standard input with one line, a list with what each node knows:
// {"Key": ..., "Joined": whether the server ever said so, "Addresses": [...], "Peers": N, "Maps": N}.
// The end of the input ends the program.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"sync"
	"time"

	"tailscale.com/control/controlclient"
	"tailscale.com/net/netmon"
	"tailscale.com/net/tsdial"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
	"tailscale.com/types/netmap"
	"tailscale.com/util/eventbus"
)

const pause = 100 * time.Millisecond

type known struct {
	Key       key.NodePublic
	Joined    bool
	Addresses []netip.Prefix
	Peers     int
	Maps      int
}

type client struct {
	direct *controlclient.Direct
	mutex  sync.Mutex
	known  known
}

// UpdateFullNetmap is what a map stream calls.
func (c *client) UpdateFullNetmap(nm *netmap.NetworkMap) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.known.Addresses = nm.GetAddresses().AsSlice()
	c.known.Peers = len(nm.Peers)
	c.known.Maps++
}

func newClient(number int, url, authKey string) (*client, error) {
	machine := key.NewMachine()
	bus := eventbus.New()
	dialer := tsdial.NewDialer(netmon.NewStatic())
	dialer.SetBus(bus)
	hostinfo := &tailcfg.Hostinfo{
		Hostname:     fmt.Sprintf("crowd-%d", number),
		OS:           "linux",
		BackendLogID: fmt.Sprintf("%064x", number), // without one it refuses to register
	}
	direct, err := controlclient.NewDirect(controlclient.Options{
		ServerURL:            url,
		AuthKey:              authKey,
		Hostinfo:             hostinfo,
		GetMachinePrivateKey: func() (key.MachinePrivate, error) { return machine, nil },
		DiscoPublicKey:       key.NewDisco().Public(),
		Dialer:               dialer,
		Bus:                  bus,
		Logf:                 func(string, ...any) {},
	})
	return &client{direct: direct}, err
}

func (c *client) join() {
	for {
		link, err := c.direct.TryLogin(context.Background(), controlclient.LoginDefault)
		if err == nil && link == "" {
			break
		}
		log.Printf("join: %v %s", err, link)
		time.Sleep(pause)
	}
	c.mutex.Lock()
	c.known.Joined = true
	c.known.Key = c.direct.GetPersist().PublicNodeKey()
	c.mutex.Unlock()
}

func (c *client) run() {
	c.join()
	for {
		err := c.direct.PollNetMap(context.Background(), c)
		log.Printf("map: %v", err)
		time.Sleep(pause)
	}
}

func main() {
	control := flag.String("control", "", "URL of the control server")
	authKey := flag.String("auth-key", "", "key to log in with")
	count := flag.Int("count", 10, "how many nodes")
	every := flag.Duration("every", 0, "the time between two that begin")
	flag.Parse()
	log.SetFlags(log.Lmicroseconds)

	var clients []*client
	for number := range *count {
		c, err := newClient(number, *control, *authKey)
		if err != nil {
			log.Fatal(err)
		}
		clients = append(clients, c)
	}
	go func() {
		for _, c := range clients {
			go c.run()
			time.Sleep(*every)
		}
	}()
	lines, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var all []known
		for _, c := range clients {
			c.mutex.Lock()
			all = append(all, c.known)
			c.mutex.Unlock()
		}
		if err := out.Encode(map[string]any{"answer": all}); err != nil {
			log.Fatal(err)
		}
	}
}
