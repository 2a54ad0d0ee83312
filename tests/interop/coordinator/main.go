// Coordinator is the control server of the interop tests: the stock test control server behind an
// HTTP listener, driven by JSON lines on standard input.
//
// Each line is a command, an object with "do" and its arguments (see the table commands); each is
// answered by one line, {"answer": ...} or {"error": "..."}, in order. The end of the input ends the
// program. Standard error has every request: "http METHOD PATH", "map JSON" and what the server
// itself logs. The stock server is a strict judge: it ends its process with a panic where it cannot
// decode a request or does not know it.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
)

// maxLine bounds a command; raw map responses may be long.
const maxLine = 64 << 20

type coordinator struct {
	*testcontrol.Server

	mu         sync.Mutex
	busy       int // that many logins are refused
	retryAfter string
	logins     []float64 // when each arrived, in seconds
}

// arguments are those of all commands; each uses some.
type arguments struct {
	Do       string
	Key      key.NodePublic
	URL      string
	On       bool
	Fields   json.RawMessage
	Response *tailcfg.MapResponse
	Ping     *tailcfg.PingRequest
	Method   string
	Path     string
	Body     string
	Seconds  float64
	Count    int
	Routes   []netip.Prefix
	CapMap   tailcfg.NodeCapMap
}

var commands = map[string]func(*coordinator, *arguments) (any, error){
	"nodes":      (*coordinator).nodes,
	"await":      (*coordinator).await,
	"auth":       (*coordinator).auth,
	"add":        (*coordinator).add,
	"patch":      (*coordinator).patch,
	"expire-all": (*coordinator).expireAll,
	"raw":        (*coordinator).raw,
	"ping":       (*coordinator).ping,
	"c2n":        (*coordinator).c2n,
	"routes":     (*coordinator).routes,
	"cap-map":    (*coordinator).capMap,
	"relays":     (*coordinator).relays,
	"busy":       (*coordinator).setBusy,
	"logins":     (*coordinator).listLogins,
}

// relays is the map of its relay, which other servers may give out as well.
func (c *coordinator) relays(*arguments) (any, error) {
	return c.DERPMap, nil
}

// nodes lists all nodes as the server knows them.
func (c *coordinator) nodes(*arguments) (any, error) {
	return c.AllNodes(), nil
}

// await waits until node Key holds a map poll, at most Seconds.
func (c *coordinator) await(a *arguments) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.timeout())
	defer cancel()
	return nil, c.AwaitNodeInMapRequest(ctx, a.Key)
}

// auth is the user who logs in at URL.
func (c *coordinator) auth(a *arguments) (any, error) {
	if !c.CompleteAuth(a.URL) {
		return nil, errors.New("no login waits at that URL")
	}
	return nil, nil
}

// add adds a node that never asks anything: Fields, as in a tailcfg.Node.
func (c *coordinator) add(a *arguments) (any, error) {
	var node tailcfg.Node
	if err := json.Unmarshal(a.Fields, &node); err != nil {
		return nil, err
	}
	c.UpdateNode(&node)
	return &node, nil
}

// patch sets Fields, as in a tailcfg.Node, of node Key, and tells every node that polls.
func (c *coordinator) patch(a *arguments) (any, error) {
	node := c.Node(a.Key)
	if node == nil {
		return nil, errors.New("no such node")
	}
	if err := json.Unmarshal(a.Fields, node); err != nil {
		return nil, err
	}
	c.UpdateNode(node)
	return node, nil
}

// expireAll says that the keys of all nodes have expired, or no longer (On).
func (c *coordinator) expireAll(a *arguments) (any, error) {
	c.SetExpireAllNodes(a.On)
	return nil, nil
}

// raw sends Response to node Key, which from then on gets no other ones.
func (c *coordinator) raw(a *arguments) (any, error) {
	if a.Response == nil || !c.AddRawMapResponse(a.Key, a.Response) {
		return nil, errors.New("the node does not poll, or there is no response")
	}
	return nil, nil
}

// ping sends Ping to node Key.
func (c *coordinator) ping(a *arguments) (any, error) {
	if a.Ping == nil || !c.AddPingRequest(a.Key, a.Ping) {
		return nil, errors.New("the node does not poll, or there is no ping")
	}
	return nil, nil
}

// c2n sends an HTTP request to node Key and returns its answer. The body is read while the request
// that brings it lasts: the stock server's own round trip returns too late for a long one.
func (c *coordinator) c2n(a *arguments) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.timeout())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, a.Method, a.Path, strings.NewReader(a.Body))
	if err != nil {
		return nil, err
	}
	answers := make(chan map[string]any, 1)
	err = c.SendC2N(a.Key, req, func(res *http.Response) {
		body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		answers <- map[string]any{"status": res.StatusCode, "header": res.Header,
			"body": string(body), "cut": err != nil}
	})
	if err != nil {
		return nil, err
	}
	select {
	case answer := <-answers:
		return answer, nil
	case <-ctx.Done():
		return nil, errors.New("no answer in time")
	}
}

// routes lets node Key serve Routes.
func (c *coordinator) routes(a *arguments) (any, error) {
	c.SetSubnetRoutes(a.Key, a.Routes)
	return nil, nil
}

// capMap replaces the capabilities of node Key.
func (c *coordinator) capMap(a *arguments) (any, error) {
	c.SetNodeCapMap(a.Key, a.CapMap)
	return nil, nil
}

// setBusy refuses the next Count logins, which shall come again after Seconds.
func (c *coordinator) setBusy(a *arguments) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.retryAfter = a.Count, strconv.Itoa(int(a.Seconds))
	return nil, nil
}

// listLogins tells when each register request came, refused or not.
func (c *coordinator) listLogins(*arguments) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]float64{}, c.logins...), nil
}

func (c *coordinator) limitLogin() (reject bool, retryAfter, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logins = append(c.logins, float64(time.Now().UnixMicro())/1e6)
	if c.busy == 0 {
		return false, "", ""
	}
	c.busy--
	return true, c.retryAfter, "too many logins"
}

func (a *arguments) timeout() time.Duration {
	if a.Seconds <= 0 {
		return 10 * time.Second
	}
	return time.Duration(a.Seconds * float64(time.Second))
}

// noteMapRequest logs a map request, and presents a node without path discovery as what it is: stock
// clients ignore a peer that has no disco key unless it is marked as WireGuard-only, and send to the
// plain endpoints of one that is.
func (c *coordinator) noteMapRequest(req *tailcfg.MapRequest) func() {
	text, err := json.Marshal(req)
	log.Printf("map %s", text)
	if err != nil {
		log.Panicf("a map request that cannot be encoded: %v", err)
	}
	node := c.Node(req.NodeKey)
	if node != nil && !req.Stream && !req.ReadOnly && node.IsWireGuardOnly != req.DiscoKey.IsZero() {
		node.IsWireGuardOnly = req.DiscoKey.IsZero()
		c.UpdateNode(node)
	}
	return nil
}

func (c *coordinator) execute(line []byte) any {
	var a arguments
	err := json.Unmarshal(line, &a)
	var answer any
	if err == nil {
		if command := commands[a.Do]; command != nil {
			answer, err = command(c, &a)
		} else {
			err = fmt.Errorf("no command %q", a.Do)
		}
	}
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	return map[string]any{"answer": answer}
}

func (c *coordinator) handler(plainKeyOnly bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.Printf("http %s %s", r.Method, r.URL)
		if plainKeyOnly && r.TLS == nil && r.URL.Path == "/ts2021" {
			http.Error(w, "no upgrades here", http.StatusForbidden)
			return
		}
		c.ServeHTTP(w, r)
	})
}

func mustListen(address string) net.Listener {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func serve(server *http.Server, listener net.Listener) {
	log.Fatal(server.Serve(listener))
}

func main() {
	listen := flag.String("listen", "", "address and port of the HTTP server; empty: none")
	listenTLS := flag.String("listen-tls", "", "the same with TLS")
	caFile := flag.String("ca", "", "file to write the authority to that vouches for the latter")
	plainKeyOnly := flag.Bool("plain-key-only", false, "refuse the upgrade without TLS")
	url := flag.String("url", "", "its URL, as the nodes see it")
	requireAuth := flag.Bool("require-auth", false, "let every node log in interactively")
	requireAuthKey := flag.String("require-auth-key", "", "refuse nodes without this key")
	requireMachineAuth := flag.Bool("require-machine-auth", false, "let every node wait for approval")
	relay := flag.String("relay", "", "IPv4 address of the relay and the STUN server")
	magicDNS := flag.String("magic-dns", "", "domain below which the nodes have names")
	tagOwners := flag.String("tag-owners", "", "JSON object: tag to list of tags")
	flag.Parse()
	log.SetFlags(log.Lmicroseconds)

	c := &coordinator{Server: &testcontrol.Server{
		DERPMap:            startRelay(*relay),
		ExplicitBaseURL:    *url,
		RequireAuth:        *requireAuth,
		RequireAuthKey:     *requireAuthKey,
		RequireMachineAuth: *requireMachineAuth,
		MagicDNSDomain:     *magicDNS,
		Verbose:            true,
		AllOnline:          true,
	}}
	if *tagOwners != "" {
		if err := json.Unmarshal([]byte(*tagOwners), &c.TagOwners); err != nil {
			log.Fatalf("-tag-owners: %v", err)
		}
	}
	c.HoldMapRequest = c.noteMapRequest
	c.MaybeRateLimitRegister = c.limitLogin
	// The server makes its keys when it is first asked for them, but does not expect a node that
	// remembers those of its predecessor.
	c.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/key?v=142", nil))
	server := &http.Server{Handler: c.handler(*plainKeyOnly)}
	if *listen != "" {
		go serve(server, mustListen(*listen))
	}
	if *listenTLS != "" {
		config := newAuthority(*caFile, *url)
		go serve(server, tls.NewListener(mustListen(*listenTLS), config))
	}

	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxLine)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		if err := answers.Encode(c.execute(lines.Bytes())); err != nil {
			log.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}
