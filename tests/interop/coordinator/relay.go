package main

import (
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"net/http/httptest"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stunserver"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// startRelay runs the stock relay and STUN server at an address, and returns a map that has only
// them. Without a home relay a stock node stays in state Starting until it has talked to a peer.
func startRelay(address string) *tailcfg.DERPMap {
	quiet := func(string, ...any) {}
	relay := derpserver.New(key.NewNode(), quiet)
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewUnstartedServer(derpserver.Handler(relay))
	server.Listener.Close()
	server.Listener = listener
	// The relay's protocol takes over the connection, which HTTP/2 does not allow.
	server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	server.StartTLS()

	stun := stunserver.New(context.Background())
	if err := stun.Listen(net.JoinHostPort(address, "0")); err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(stun.Serve()) }()

	return &tailcfg.DERPMap{
		OmitDefaultRegions: true,
		Regions: map[int]*tailcfg.DERPRegion{1: {
			RegionID:   1,
			RegionCode: "lab",
			RegionName: "Lab",
			Nodes: []*tailcfg.DERPNode{{
				Name:             "1a",
				RegionID:         1,
				HostName:         address,
				IPv4:             address,
				IPv6:             "none",
				STUNPort:         stun.LocalAddr().(*net.UDPAddr).Port,
				DERPPort:         listener.Addr().(*net.TCPAddr).Port,
				InsecureForTests: true,
				STUNTestIP:       address,
			}},
		}},
	}
}
