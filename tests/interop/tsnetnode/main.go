// Tsnetnode is a peer of the interop tests: a stock node in one process, with its own TCP/IP stack
// instead of a network interface, driven by JSON lines on standard input.
//
// It joins, writes {"answer": {"key": ..., "addresses": [...]}}, then answers each command, an object
// with "do" and its arguments, by one line, {"answer": ...} or {"error": "..."}, in order. The end of
// the input ends the program. TCP port 7 of its addresses reads a stream to its end and answers its
// SHA-256 and length, as stream.py of the lab does.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"tailscale.com/client/local"
	"tailscale.com/tailcfg"
	"tailscale.com/tsnet"
)

const (
	sinkPort = 7
	mib      = 1 << 20
)

type node struct {
	server *tsnet.Server
	client *local.Client
}

// arguments are those of all commands; each uses some.
type arguments struct {
	Do      string
	Address netip.Addr
	Port    uint16
	MiB     int
	Kind    tailcfg.PingType
	Seconds float64
}

var commands = map[string]func(*node, context.Context, *arguments) (any, error){
	"status": (*node).status,
	"ping":   (*node).ping,
	"dial":   (*node).dial,
	"send":   (*node).send,
	"logout": (*node).logout,
}

// status is that of the stock client.
func (n *node) status(ctx context.Context, _ *arguments) (any, error) {
	return n.client.Status(ctx)
}

// ping pings Address; Kind is "ICMP", "TSMP", "disco" or "peerapi".
func (n *node) ping(ctx context.Context, a *arguments) (any, error) {
	result, err := n.client.Ping(ctx, a.Address, a.Kind)
	if err == nil && result.Err != "" {
		err = fmt.Errorf("%s", result.Err)
	}
	return result, err
}

// dial connects to Address and Port, and closes.
func (n *node) dial(ctx context.Context, a *arguments) (any, error) {
	conn, err := n.server.Dial(ctx, "tcp", netip.AddrPortFrom(a.Address, a.Port).String())
	if err == nil {
		conn.Close()
	}
	return nil, err
}

// send sends MiB mebibytes to the sink at Address and Port, and compares what that received.
func (n *node) send(ctx context.Context, a *arguments) (any, error) {
	conn, err := n.server.Dial(ctx, "tcp", netip.AddrPortFrom(a.Address, a.Port).String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		conn.SetDeadline(end)
	}
	var seed [32]byte
	block := make([]byte, mib)
	rand.NewChaCha8(seed).Read(block)
	began, digest := time.Now(), sha256.New()
	for i := range a.MiB {
		binary.LittleEndian.PutUint64(block, uint64(i))
		digest.Write(block)
		if _, err := conn.Write(block); err != nil {
			return nil, fmt.Errorf("after %d MiB: %w", i, err)
		}
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		err = half.CloseWrite()
	} else {
		err = fmt.Errorf("%T has no CloseWrite", conn)
	}
	if err != nil {
		return nil, err
	}
	received, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	sent := fmt.Sprintf("%x %d", digest.Sum(nil), a.MiB*mib)
	if strings.TrimSpace(received) != sent {
		return nil, fmt.Errorf("sent %s, the other side received %s", sent, received)
	}
	return map[string]any{"seconds": time.Since(began).Seconds()}, nil
}

// logout ends the login of this node.
func (n *node) logout(ctx context.Context, _ *arguments) (any, error) {
	return nil, n.client.Logout(ctx)
}

func sink(conn net.Conn) {
	defer conn.Close()
	digest := sha256.New()
	count, err := io.Copy(digest, conn)
	if err != nil {
		log.Printf("sink: after %d bytes: %v", count, err)
		return
	}
	fmt.Fprintf(conn, "%x %d\n", digest.Sum(nil), count)
}

func (n *node) join(ctx context.Context) (any, error) {
	status, err := n.server.Up(ctx)
	if err != nil {
		return nil, err
	}
	if n.client, err = n.server.LocalClient(); err != nil {
		return nil, err
	}
	listener, err := n.server.Listen("tcp", fmt.Sprintf(":%d", sinkPort))
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				log.Fatalf("accept: %v", err)
			}
			go sink(conn)
		}
	}()
	return map[string]any{"key": status.Self.PublicKey, "addresses": status.TailscaleIPs}, nil
}

func (n *node) execute(line []byte) (any, error) {
	var a arguments
	if err := json.Unmarshal(line, &a); err != nil {
		return nil, err
	}
	command := commands[a.Do]
	if command == nil {
		return nil, fmt.Errorf("no command %q", a.Do)
	}
	if a.Seconds <= 0 {
		a.Seconds = 10
	}
	ctx, cancel := context.WithTimeout(context.Background(),
		time.Duration(a.Seconds*float64(time.Second)))
	defer cancel()
	return command(n, ctx, &a)
}

func reply(answer any, err error) {
	reply := map[string]any{"answer": answer}
	if err != nil {
		reply = map[string]any{"error": err.Error()}
	}
	if err := json.NewEncoder(os.Stdout).Encode(reply); err != nil {
		log.Fatal(err)
	}
}

func main() {
	control := flag.String("control", "", "URL of the control server")
	authKey := flag.String("auth-key", "", "key to log in with")
	hostname := flag.String("hostname", "tsnet", "name of this node")
	dir := flag.String("dir", "", "folder for its state")
	port := flag.Uint("port", 41641, "UDP port")
	flag.Parse()
	log.SetFlags(log.Lmicroseconds)

	n := &node{server: &tsnet.Server{
		Dir:        *dir,
		Hostname:   *hostname,
		AuthKey:    *authKey,
		ControlURL: *control,
		Port:       uint16(*port),
		Logf:       log.Printf,
		UserLogf:   log.Printf,
	}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	answer, err := n.join(ctx)
	cancel()
	reply(answer, err)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		reply(n.execute(lines.Bytes()))
	}
	if err := n.server.Close(); err != nil {
		log.Fatal(err)
	}
}
