package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"github.com/evenkeel/evenkeel/services/had/host"
)

// hub is a gab in memory: one total order for all systems that are in, every
// message delivered safely at once.
type hub struct {
	mu      sync.Mutex
	mode    string
	lineage uint64
	counter uint64
	seq     uint64
	leases  bool
	ports   map[uint32]*fakePort // on port h
	systems map[uint32]string    // on port a
	held    *gabv1.Gate
	lose    func(payload []byte) bool // nobody gets these
}

func newHub(mode string) *hub {
	return &hub{mode: mode, lineage: 7, leases: true, ports: map[uint32]*fakePort{}, systems: map[uint32]string{}}
}

type fakePort struct {
	hub      *hub
	node     uint32
	name     string
	first    bool
	received chan *gabv1.AttachResponse // far more than a test sends
	closed   bool
	protect  uint32
	clean    bool // the last ordered message said that nothing is protected (R14)
	err      error
	slow     bool // what is due to it waits
	late     []*gabv1.AttachResponse
	sends    int
}

// open joins a system to both ports.
func (h *hub) open(name string, node uint32) func(context.Context) (Port, error) {
	return func(context.Context) (Port, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.ports[node] != nil {
			return nil, errors.New("port h has a client on this system")
		}
		p := &fakePort{hub: h, node: node, name: name, first: true, received: make(chan *gabv1.AttachResponse, 1<<15)}
		p.received <- &gabv1.AttachResponse{Body: &gabv1.AttachResponse_Registered{Registered: &gabv1.Registered{
			Self: &gabv1.Member{NodeId: node, Name: name, Incarnation: 1}, FencingMode: h.mode, HeartbeatMs: 1000}}}
		h.ports[node], h.systems[node] = p, name
		h.view(nil, nil)
		if h.leases {
			p.put(leaseFor(time.Hour))
		}
		return p, nil
	}
}

func leaseFor(d time.Duration) *gabv1.AttachResponse {
	return &gabv1.AttachResponse{Body: &gabv1.AttachResponse_Lease{Lease: &gabv1.Lease{ExpiresBoottimeNs: int64(boottime().Add(d))}}}
}

func (p *fakePort) put(r *gabv1.AttachResponse) {
	switch {
	case p.closed:
	case p.slow:
		p.late = append(p.late, r)
	default:
		p.received <- r
	}
}

// delay keeps back what is due to a system, or hands it out after all.
func (h *hub) delay(node uint32, slow bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.ports[node]
	p.slow = slow
	for _, r := range p.late {
		p.put(r)
	}
	if !slow {
		p.late = nil
	}
}

// sent is how many messages a system has sent.
func (h *hub) sent(node uint32) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ports[node].sends
}

// view delivers a view to all members of port h; the caller holds mu.
func (h *hub) view(departed []*gabv1.Departed, down []uint32) {
	h.counter++
	h.seq++
	var members, systems []*gabv1.Member
	for _, n := range h.nodes() {
		systems = append(systems, &gabv1.Member{NodeId: n, Name: h.systems[n], Incarnation: 1})
		if h.ports[n] != nil {
			members = append(members, &gabv1.Member{NodeId: n, Name: h.systems[n], Incarnation: 1})
		}
	}
	for _, n := range h.nodes() {
		if p := h.ports[n]; p != nil {
			p.put(&gabv1.AttachResponse{Body: &gabv1.AttachResponse_View{View: &gabv1.View{
				Id: h.id(), PortGeneration: h.counter, Members: members, Systems: systems, Departed: departed,
				Seq: h.seq, DaemonDownNodeIds: down, First: p.first}}})
			p.first = false
		}
	}
}

func (h *hub) id() *gabv1.ViewId { return &gabv1.ViewId{Lineage: h.lineage, Counter: h.counter} }

func (h *hub) nodes() []uint32 {
	var nodes []uint32
	for n := range h.systems {
		nodes = append(nodes, n)
	}
	slices.Sort(nodes)
	return nodes
}

// powerOff takes a system out of both ports with evidence.
func (h *hub) powerOff(node uint32, evidence gabv1.EvidenceKind) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(node)
	name := h.systems[node]
	delete(h.systems, node)
	h.view([]*gabv1.Departed{{Member: &gabv1.Member{NodeId: node, Name: name, Incarnation: 1}, Evidence: evidence}}, nil)
}

func (h *hub) remove(node uint32) {
	if p := h.ports[node]; p != nil {
		p.closed, p.err = true, errors.New("gab ended the stream")
		close(p.received)
		delete(h.ports, node)
	}
}

// hold closes the gate for a system that is gone.
func (h *hub) hold(node uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(node)
	h.held = &gabv1.Gate{Held: true, WaitingFor: []*gabv1.Member{{NodeId: node, Name: h.systems[node]}},
		Reason: "no evidence that " + h.systems[node] + " is gone; ha fencing vouch " + h.systems[node]}
	for _, p := range h.ports {
		p.put(&gabv1.AttachResponse{Body: &gabv1.AttachResponse_Gate{Gate: h.held}})
	}
}

func (p *fakePort) Send(id uint64, to *uint32, payload []byte) error {
	h := p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if p.closed {
		return nil
	}
	p.sends++
	if h.held != nil {
		return nil // nothing is delivered; the fate stays open
	}
	if h.lose != nil && h.lose(payload) {
		p.put(&gabv1.AttachResponse{Body: &gabv1.AttachResponse_Outcome{Outcome: &gabv1.Outcome{
			MessageId: id, Result: gabv1.SendResult_SEND_RESULT_LOST}}})
		return nil
	}
	h.seq++
	p.clean = false
	for _, n := range h.nodes() {
		q := h.ports[n]
		if q == nil || (to != nil && *to != n) {
			continue
		}
		m := &gabv1.Message{View: h.id(), Seq: h.seq, FromNodeId: p.node, Payload: payload}
		if q == p {
			m.MessageId = &id
		}
		q.put(&gabv1.AttachResponse{Body: &gabv1.AttachResponse_Message{Message: m}})
	}
	p.put(&gabv1.AttachResponse{Body: &gabv1.AttachResponse_Outcome{Outcome: &gabv1.Outcome{
		MessageId: id, Result: gabv1.SendResult_SEND_RESULT_DELIVERED}}})
	return nil
}

func (p *fakePort) Protect(n uint32) error {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	p.protect, p.clean = n, n == 0
	return nil
}

func (p *fakePort) Heartbeat() error                       { return nil }
func (p *fakePort) Received() <-chan *gabv1.AttachResponse { return p.received }

func (p *fakePort) Err() error {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	return p.err
}

// Close leaves port h; the machine stays in port a.
func (p *fakePort) Close() {
	h := p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if p.closed {
		return
	}
	h.remove(p.node)
	var down []uint32
	if p.protect > 0 {
		down = []uint32{p.node}
	}
	h.view(nil, down)
}

// world is what really runs where.
type world struct {
	mu      sync.Mutex
	up      map[string]map[string]bool // resource, system
	history []string
	twice   []string
	barred  map[string]bool // systems that the action PreSwitch says no for
	asked   int             // how often it ran
}

// mayGo sets what PreSwitch says on a system.
func (w *world) mayGo(system string, may bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.barred = map[string]bool{system: !may}
}

func (w *world) askedToGo() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

func (w *world) preswitch(system string) (string, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.barred[system] {
		return system + " is not ready\nmore\n", 4
	}
	return "", 0
}

func newWorld() *world { return &world{up: map[string]map[string]bool{}} }

func (w *world) set(resource, system string, up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.up[resource] == nil {
		w.up[resource] = map[string]bool{}
	}
	delete(w.up[resource], system)
	word := "-"
	if up {
		w.up[resource][system] = true
		word = "+"
	}
	w.history = append(w.history, word+resource+"@"+system)
	if len(w.up[resource]) > 1 {
		w.twice = append(w.twice, fmt.Sprint(w.history))
	}
}

func (w *world) is(resource, system string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.up[resource][system]
}

func (w *world) off(system string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, on := range w.up {
		delete(on, system)
	}
}

func (w *world) story() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.history)
}

// fakeAgents are agents of one system over the world.
type fakeAgents struct {
	world  *world
	system string
	events chan host.Event // bound 64, read by the loop
	mu     sync.Mutex
	closed bool
	watch  map[string]string
	// refuse makes Online of a resource do nothing.
	refuse map[string]bool
	// changed are the resources whose agent was told of new values, with the
	// names of those.
	changed []string
	infos   int
	hangs   atomic.Int32
}

func newFakeAgents(w *world, system string) *fakeAgents {
	return &fakeAgents{world: w, system: system, events: make(chan host.Event, 64), watch: map[string]string{}, refuse: map[string]bool{}}
}

func (f *fakeAgents) EndFormer(context.Context) error { return nil }

func (f *fakeAgents) Start(decl host.TypeDecl, _ string) error {
	f.events <- host.AgentUp{Type: decl.Name, Version: "1", Watches: true}
	return nil
}

func (f *fakeAgents) Open(context.Context, string, host.Resource) error          { return nil }
func (f *fakeAgents) CloseResource(context.Context, string, host.Resource) error { return nil }

func (f *fakeAgents) Online(_ context.Context, _ string, r host.Resource, _ uint64) (time.Duration, error) {
	f.mu.Lock()
	refused := f.refuse[r.Name]
	f.mu.Unlock()
	if !refused {
		f.world.set(r.Name, f.system, true)
	}
	return 0, nil
}

func (f *fakeAgents) Offline(_ context.Context, _ string, r host.Resource, _ uint64) (time.Duration, error) {
	f.world.set(r.Name, f.system, false)
	return 0, nil
}

func (f *fakeAgents) Monitor(_ context.Context, _ string, r host.Resource, _ bool) (host.Status, error) {
	if f.world.is(r.Name, f.system) {
		return host.Status{State: host.Online, Confidence: 100}, nil
	}
	return host.Status{State: host.Offline}, nil
}

func (f *fakeAgents) Clean(_ context.Context, _ string, r host.Resource, _ host.CleanReason) error {
	if f.world.is(r.Name, f.system) {
		f.world.set(r.Name, f.system, false)
	}
	return nil
}

func (f *fakeAgents) AttrChanged(_ context.Context, _ string, r host.Resource, before map[string]host.Value) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed = append(f.changed, r.Name+" "+strings.Join(slices.Sorted(maps.Keys(before)), " "))
	return nil
}

// Action echoes its arguments; "fail" ends with exit code 3, "hang" waits for
// its end.
func (f *fakeAgents) Action(ctx context.Context, _ string, r host.Resource, token string, args []string) (string, int, error) {
	switch token {
	case "echo":
		return fmt.Sprintf("%s on %s: %s", r.Name, f.system, strings.Join(args, " ")), 0, nil
	case "PreSwitch":
		out, code := f.world.preswitch(f.system)
		return out, code, nil
	case "fail":
		return "no", 3, nil
	case "flood":
		return strings.Repeat("x", maxActionOutput+1), 0, nil
	case "hang":
		f.hangs.Add(1)
		<-ctx.Done()
		return "", 0, ctx.Err()
	}
	return "", 0, fmt.Errorf("action %s: %w", token, host.ErrNotImplemented)
}

func (f *fakeAgents) Info(_ context.Context, _ string, r host.Resource) (map[string]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.infos++
	return map[string]string{"where": f.system, "count": fmt.Sprint(f.infos)}, nil
}

func (f *fakeAgents) Stop(_ context.Context, typeName string) error {
	f.send(host.AgentDown{Type: typeName, Reason: "it was stopped", Planned: true})
	return nil
}

func (f *fakeAgents) Restart(_ context.Context, typeName string) error {
	f.send(host.AgentDown{Type: typeName, Reason: "a new build takes over", Planned: true})
	f.send(host.AgentUp{Type: typeName, Version: "2", Restarted: true, Watches: true})
	return nil
}

// send is news from the host; after Close nobody hears it.
func (f *fakeAgents) send(ev host.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.events <- ev
	}
}

func (f *fakeAgents) Watch(typeName string, r host.Resource) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watch[r.Name] = typeName
}

// die ends a resource from outside; the agent sees it at once.
func (f *fakeAgents) die(resource string) {
	f.world.set(resource, f.system, false)
	f.mu.Lock()
	typeName := f.watch[resource]
	f.mu.Unlock()
	f.events <- host.Watched{Type: typeName, Resource: resource, Status: host.Status{State: host.Offline}}
}

func (f *fakeAgents) Events() <-chan host.Event { return f.events }
func (f *fakeAgents) PID(string) int            { return 4711 }

func (f *fakeAgents) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.events)
	}
	return nil
}
