// Derpclient is a peer of the interop tests: the stock relay client by itself, driven by JSON lines
// on standard input.
//
// It connects to the relay region given as JSON, writes {"answer": {"key": ...}}, then answers each
// command, an object with "do" and its arguments, by one line, {"answer": ...} or {"error": "..."},
// in order. The end of the input ends the program.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/net/netmon"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// backlog is how many messages may wait for "receive"; more are dropped and said on standard error.
const backlog = 4096

type client struct {
	*derphttp.Client
	messages chan message
}

// message is what came from the relay.
type message struct {
	Kind   string `json:"kind"`
	From   string `json:"from,omitempty"`
	Hex    string `json:"hex,omitempty"`
	Reason int    `json:"reason,omitempty"`
}

// arguments are those of all commands; each uses some.
type arguments struct {
	Do      string
	To      key.NodePublic
	Hex     string
	Count   int
	Seconds float64
	On      bool
}

var commands = map[string]func(*client, *arguments) (any, error){
	"send":    (*client).send,
	"receive": (*client).receive,
	"prefer":  (*client).prefer,
	"ping":    (*client).ping,
}

// send sends the bytes Hex to To, Count times, at least once.
func (c *client) send(a *arguments) (any, error) {
	data, err := hex.DecodeString(a.Hex)
	for i := 0; err == nil && i < max(a.Count, 1); i++ {
		err = c.Send(a.To, data)
	}
	return nil, err
}

// receive is the next message, for which it waits at most Seconds.
func (c *client) receive(a *arguments) (any, error) {
	select {
	case m := <-c.messages:
		return m, nil
	case <-time.After(time.Duration(a.Seconds * float64(time.Second))):
		return nil, errors.New("nothing came")
	}
}

// prefer says whether the relay is our home.
func (c *client) prefer(a *arguments) (any, error) {
	c.NotePreferred(a.On)
	return nil, nil
}

// ping waits for the relay's answer.
func (c *client) ping(a *arguments) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(),
		time.Duration(a.Seconds*float64(time.Second)))
	defer cancel()
	return nil, c.Ping(ctx)
}

func (c *client) run() {
	for {
		m, err := c.Recv()
		if err != nil {
			log.Printf("receive: %v", err)
			if errors.Is(err, derphttp.ErrClientClosed) {
				return
			}
			time.Sleep(50 * time.Millisecond)
			continue
		}
		var got message
		switch m := m.(type) {
		case derp.ReceivedPacket:
			got = message{Kind: "packet", From: m.Source.String(),
				Hex: hex.EncodeToString(m.Data)}
		case derp.PeerGoneMessage:
			got = message{Kind: "gone", From: m.Peer.String(), Reason: int(m.Reason)}
		default:
			log.Printf("received %T", m)
			continue
		}
		select {
		case c.messages <- got:
		default:
			log.Printf("dropped: nobody receives")
		}
	}
}

func answer(value any, err error) {
	line := map[string]any{"answer": value}
	if err != nil {
		line = map[string]any{"error": err.Error()}
	}
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		log.Fatal(err)
	}
}

func serve(c *client) error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var a arguments
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			return err
		}
		do, ok := commands[a.Do]
		if !ok {
			return fmt.Errorf("no command %q", a.Do)
		}
		answer(do(c, &a))
	}
	return lines.Err()
}

func main() {
	regionText := flag.String("region", "", "the relay region, a tailcfg.DERPRegion in JSON")
	flag.Parse()
	var region tailcfg.DERPRegion
	if err := json.Unmarshal([]byte(*regionText), &region); err != nil {
		log.Fatal(err)
	}
	private := key.NewNode()
	c := &client{messages: make(chan message, backlog)}
	c.Client = derphttp.NewRegionClient(private, log.Printf, netmon.NewStatic(),
		func() *tailcfg.DERPRegion { return &region })
	if err := c.Connect(context.Background()); err != nil {
		log.Fatal(err)
	}
	go c.run()
	answer(map[string]string{"key": private.Public().String()}, nil)
	if err := serve(c); err != nil {
		log.Fatal(err)
	}
}
