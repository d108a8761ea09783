package server

import (
	"context"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/internal/condition"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/policy"
	"google.golang.org/grpc/codes"
)

type (
	clusterAPI struct {
		hadv1.UnimplementedClusterServiceServer
		*api
	}
	typeAPI struct {
		hadv1.UnimplementedTypeServiceServer
		*api
	}
	agentAPI struct {
		hadv1.UnimplementedAgentServiceServer
		*api
	}
	configAPI struct {
		hadv1.UnimplementedConfigServiceServer
		*api
	}
	eventAPI struct {
		hadv1.UnimplementedEventServiceServer
		*api
	}
)

func memberNamed(name string) func(*gabv1.Member) bool {
	return func(m *gabv1.Member) bool { return m.GetName() == name }
}

// page cuts one page out of a sorted list; the token is the last name of the
// page before.
func page[T interface{ GetName() string }](all []T, size int32, token string) ([]T, string) {
	if size <= 0 || size > 1000 {
		size = 1000
	}
	from := 0
	for from < len(all) && token != "" && all[from].GetName() <= token {
		from++
	}
	to := min(len(all), from+int(size))
	next := ""
	if to < len(all) {
		next = all[to-1].GetName()
	}
	return all[from:to], next
}

func names[T interface{ GetName() string }](all []T) []string {
	out := make([]string, len(all))
	for i, o := range all {
		out[i] = o.GetName()
	}
	return out
}

func find[T interface{ GetName() string }](all []T, kind, id, name string) (T, error) {
	for _, o := range all {
		if o.GetName() == name {
			return o, nil
		}
	}
	var none T
	if name == "" {
		return none, nameMissing(strings.ToLower(kind))
	}
	return none, notFound(kind, id, name, names(all))
}

// withAttributes is an object that conditionals look at.
type withAttributes interface {
	GetName() string
	GetAttributes() []*hadv1.Attribute
}

// filter keeps what fulfils VCS's conditionals. An attribute that none of the
// objects has is a mistake and no condition that nothing fulfils.
func filter[T withAttributes](all []T, conditions []string) ([]T, error) {
	from := slices.Clone(all)
	for _, text := range conditions {
		c, err := parseCondition(text)
		if err != nil {
			return nil, err
		}
		if err := attributeKnown(from, c.Attribute); err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(o T) bool { return !fulfils(o, c) })
	}
	return all, nil
}

// short keeps what fulfils a condition on the group, the type or the state,
// which need no attributes; known is false for another condition.
func short(all []*hadv1.Resource, text string) (kept []*hadv1.Resource, known bool) {
	c, err := parseCondition(text)
	if err != nil || !slices.Contains([]string{"Group", "Type", "State"}, c.Attribute) {
		return all, false
	}
	return slices.DeleteFunc(all, func(r *hadv1.Resource) bool {
		o := &hadv1.Resource{Attributes: []*hadv1.Attribute{{Name: "Group", Value: r.GetGroup()}, {Name: "Type", Value: r.GetType()}}}
		for _, on := range r.GetSystems() {
			o.Attributes = append(o.Attributes, &hadv1.Attribute{Name: "State", System: on.GetSystem(), Value: on.GetState()})
		}
		return !fulfils(o, c)
	}), true
}

func attributeKnown[T withAttributes](all []T, name string) error {
	known := map[string]bool{}
	for _, o := range all {
		for _, at := range o.GetAttributes() {
			if at.GetName() == name {
				return nil
			}
			known[at.GetName()] = true
		}
	}
	if len(all) == 0 {
		return nil
	}
	text := "Attribute " + name + " does not exist for any of these objects"
	near := policy.Nearest(name, sortedKeys(known))
	if len(near) > 0 {
		text += "; did you mean " + strings.Join(near, ", ") + "?"
	}
	return refusal(codes.InvalidArgument, "ATTRIBUTE_NOT_FOUND", "V-16-1-90003", "WARNING", text, "nearest", strings.Join(near, ","))
}

func parseCondition(text string) (condition.Condition, error) {
	c, err := condition.Parse(text)
	if err != nil {
		err = refusal(codes.InvalidArgument, "BAD_CONDITION", "V-16-1-10000", "ERROR", err.Error())
	}
	return c, err
}

func fulfils(o withAttributes, c condition.Condition) bool {
	var values []string
	for _, at := range o.GetAttributes() {
		if at.GetName() == c.Attribute {
			values = append(values, at.GetValue())
		}
	}
	return c.Holds(values)
}

func (a systemAPI) GetSystem(ctx context.Context, r *hadv1.GetSystemRequest) (*hadv1.GetSystemResponse, error) {
	look, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	s, err := find(look.systems(false), "System", "V-16-1-10357", r.GetName())
	return &hadv1.GetSystemResponse{System: s}, err
}

func (a systemAPI) ListSystems(ctx context.Context, r *hadv1.ListSystemsRequest) (*hadv1.ListSystemsResponse, error) {
	look, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	all, err := filter(look.systems(false), r.GetConditions())
	if err != nil {
		return nil, err
	}
	out, next := page(all, r.GetPageSize(), r.GetPageToken())
	return &hadv1.ListSystemsResponse{Systems: out, NextPageToken: next}, nil
}

func (a groupAPI) GetGroup(ctx context.Context, r *hadv1.GetGroupRequest) (*hadv1.GetGroupResponse, error) {
	look, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	g, err := look.groupNamed(r.GetName())
	return &hadv1.GetGroupResponse{Group: g}, err
}

// groupNamed is one group with its attributes.
func (r *replica) groupNamed(name string) (*hadv1.Group, error) {
	for _, g := range r.st.Groups {
		if g.Name == name {
			return r.group(g, false), nil
		}
	}
	return find(r.groups(true), "Group", "V-16-1-40131", name)
}

func (a groupAPI) ListGroups(ctx context.Context, r *hadv1.ListGroupsRequest) (*hadv1.ListGroupsResponse, error) {
	look, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	all, err := filter(look.groups(false), r.GetConditions())
	if err != nil {
		return nil, err
	}
	out, next := page(all, r.GetPageSize(), r.GetPageToken())
	return &hadv1.ListGroupsResponse{Groups: out, NextPageToken: next}, nil
}

func (a groupAPI) ListGroupDependencies(ctx context.Context, r *hadv1.ListGroupDependenciesRequest) (*hadv1.ListGroupDependenciesResponse, error) {
	look, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range r.GetGroups() {
		if _, err := find(look.groups(true), "Group", "V-16-1-40131", name); err != nil {
			return nil, err
		}
	}
	out := &hadv1.ListGroupDependenciesResponse{}
	if look.cfg == nil {
		return out, nil
	}
	for _, g := range look.cfg.Groups {
		for _, d := range g.Requires {
			if len(r.GetGroups()) > 0 && !slices.Contains(r.GetGroups(), g.Name) && !slices.Contains(r.GetGroups(), d.Child) {
				continue
			}
			relation := strings.TrimSpace(strings.Join([]string{d.Category, d.Location, d.Rigidity}, " "))
			out.Dependencies = append(out.Dependencies, &hadv1.GroupDependency{Parent: g.Name, Child: d.Child, Relationship: relation})
		}
	}
	slices.SortFunc(out.Dependencies, func(x, y *hadv1.GroupDependency) int {
		return strings.Compare(x.GetParent()+"\x00"+x.GetChild(), y.GetParent()+"\x00"+y.GetChild())
	})
	return out, nil
}

func (a groupAPI) ExplainGroup(ctx context.Context, r *hadv1.ExplainGroupRequest) (*hadv1.ExplainGroupResponse, error) {
	var look *replica
	var why []engine.Explanation
	if err := a.do(ctx, func() { look, why = a.loop.replica(), a.loop.engine.Explanations(r.GetName()) }); err != nil {
		return nil, err
	}
	g, err := look.groupNamed(r.GetName())
	if err != nil {
		return nil, err
	}
	out := &hadv1.ExplainGroupResponse{Group: g, Hindrances: g.GetHindrances()}
	if look.gate != nil {
		out.Hindrances = append(out.Hindrances, "the membership is held: "+*look.gate)
	}
	out.Decisions = latest(why, "", r.GetLimit())
	return out, nil
}

// shownDecisions is how many decisions are returned if nobody says otherwise.
const shownDecisions = 20

// latest returns decisions, latest first: at most limit, 0 for the usual.
func latest(why []engine.Explanation, kind string, limit int32) []*hadv1.Decision {
	if limit <= 0 {
		limit = shownDecisions
	}
	var out []*hadv1.Decision
	for i := len(why) - 1; i >= 0 && len(out) < int(limit); i-- {
		if d := decisionProto(why[i]); kind == "" || d.GetKind() == kind {
			out = append(out, d)
		}
	}
	return out
}

func (a clusterAPI) ListDecisions(ctx context.Context, r *hadv1.ListDecisionsRequest) (*hadv1.ListDecisionsResponse, error) {
	var look *replica
	var why []engine.Explanation
	if err := a.do(ctx, func() { look, why = a.loop.replica(), a.loop.engine.Explanations(r.GetGroup()) }); err != nil {
		return nil, err
	}
	if r.GetGroup() != "" {
		if _, err := look.groupNamed(r.GetGroup()); err != nil {
			return nil, err
		}
	}
	if kind := decision.Kind(r.GetKind()); kind != "" && !slices.Contains(decision.All(), kind) {
		return nil, noSuchKind(string(kind))
	}
	return &hadv1.ListDecisionsResponse{Decisions: latest(why, r.GetKind(), r.GetLimit())}, nil
}

func noSuchKind(kind string) error {
	var known []string
	for _, k := range decision.All() {
		known = append(known, string(k))
	}
	text := "kind: no decision is of the kind " + kind
	near := policy.Nearest(kind, known)
	if len(near) > 0 {
		text += "; did you mean " + strings.Join(near, ", ") + "?"
	} else {
		text += "; known are: " + strings.Join(known, ", ")
	}
	return refusal(codes.InvalidArgument, "BAD_REQUEST", "V-16-1-10000", "ERROR", text, "nearest", strings.Join(near, ","))
}

func (a resourceAPI) GetResource(ctx context.Context, r *hadv1.GetResourceRequest) (*hadv1.GetResourceResponse, error) {
	look, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	res, err := find(look.resources(true), "Resource", "V-16-1-40130", r.GetName())
	if err == nil {
		look.describe([]*hadv1.Resource{res})
	}
	return &hadv1.GetResourceResponse{Resource: res}, err
}

func (a resourceAPI) ListResources(ctx context.Context, r *hadv1.ListResourcesRequest) (*hadv1.ListResourcesResponse, error) {
	look, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	all := look.resources(true)
	if g := r.GetGroup(); g != "" {
		if _, err := find(look.groups(true), "Group", "V-16-1-40131", g); err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(res *hadv1.Resource) bool { return res.GetGroup() != g })
	}
	var others []string
	for _, text := range r.GetConditions() {
		var known bool
		if all, known = short(all, text); !known {
			others = append(others, text)
		}
	}
	if len(others) > 0 {
		look.describe(all)
		if all, err = filter(all, others); err != nil {
			return nil, err
		}
	}
	out, next := page(all, r.GetPageSize(), r.GetPageToken())
	if len(others) == 0 {
		look.describe(out)
	}
	return &hadv1.ListResourcesResponse{Resources: out, NextPageToken: next}, nil
}

func (a resourceAPI) ListResourceDependencies(ctx context.Context, r *hadv1.ListResourceDependenciesRequest) (*hadv1.ListResourceDependenciesResponse, error) {
	look, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	if g := r.GetGroup(); g != "" {
		if _, err := find(look.groups(true), "Group", "V-16-1-40131", g); err != nil {
			return nil, err
		}
	}
	for _, name := range r.GetResources() {
		if _, err := find(look.resources(true), "Resource", "V-16-1-40130", name); err != nil {
			return nil, err
		}
	}
	out := &hadv1.ListResourceDependenciesResponse{}
	if look.cfg == nil {
		return out, nil
	}
	for _, g := range look.cfg.Groups {
		if r.GetGroup() != "" && g.Name != r.GetGroup() {
			continue
		}
		for _, d := range g.Dependencies {
			for _, child := range d.Children {
				if len(r.GetResources()) > 0 && !slices.Contains(r.GetResources(), d.Parent) && !slices.Contains(r.GetResources(), child) {
					continue
				}
				out.Dependencies = append(out.Dependencies, &hadv1.ResourceDependency{Group: g.Name, Parent: d.Parent, Child: child})
			}
		}
	}
	slices.SortFunc(out.Dependencies, func(x, y *hadv1.ResourceDependency) int {
		return strings.Compare(x.GetGroup()+"\x00"+x.GetParent()+"\x00"+x.GetChild(), y.GetGroup()+"\x00"+y.GetParent()+"\x00"+y.GetChild())
	})
	return out, nil
}

func (a typeAPI) GetType(ctx context.Context, r *hadv1.GetTypeRequest) (*hadv1.GetTypeResponse, error) {
	look, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	t, err := find(look.types(), "Type", "V-16-1-90002", r.GetName())
	return &hadv1.GetTypeResponse{Type: t}, err
}

func (a typeAPI) ListTypes(ctx context.Context, r *hadv1.ListTypesRequest) (*hadv1.ListTypesResponse, error) {
	look, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	all, err := filter(look.types(), r.GetConditions())
	if err != nil {
		return nil, err
	}
	out, next := page(all, r.GetPageSize(), r.GetPageToken())
	return &hadv1.ListTypesResponse{Types: out, NextPageToken: next}, nil
}

func (a clusterAPI) GetCluster(ctx context.Context, _ *hadv1.GetClusterRequest) (*hadv1.GetClusterResponse, error) {
	look, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	return &hadv1.GetClusterResponse{Cluster: look.cluster()}, nil
}

func (a clusterAPI) ListClusters(ctx context.Context, _ *hadv1.ListClustersRequest) (*hadv1.ListClustersResponse, error) {
	look, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	return &hadv1.ListClustersResponse{Clusters: []*hadv1.Cluster{look.cluster()}}, nil
}

func (a clusterAPI) GetStatus(ctx context.Context, r *hadv1.GetStatusRequest) (*hadv1.GetStatusResponse, error) {
	look, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	return &hadv1.GetStatusResponse{
		LocalSystem: look.self, LocalState: look.state, WaitingFor: look.waiting, Cluster: look.cluster(),
		Systems: look.systems(r.GetBrief()), Groups: look.groups(r.GetBrief()), Resources: look.resources(r.GetBrief()),
		Position: positionProto(look.st.Pos), Gate: look.gate, EngineVersion: Version, ConfigErrors: look.problems,
	}, nil
}

// agentView makes an agent listable by its type.
type agentView struct{ *hadv1.Agent }

// GetName is the agent's type.
func (a agentView) GetName() string { return a.GetType() }

// agentPlace makes an agent listable by its type and system.
type agentPlace struct{ agentView }

// GetName is the type and the system.
func (a agentPlace) GetName() string { return a.GetType() + "@" + a.GetSystem() }

func (a eventAPI) WatchEvents(r *hadv1.WatchEventsRequest, stream hadv1.EventService_WatchEventsServer) error {
	w := &watcher{events: make(chan *hadv1.Event, watchBound), groups: map[string]bool{}, log: r.GetLog()}
	if r.GetSnapshot() && r.GetAfter() != "" {
		return refusal(codes.InvalidArgument, "BAD_REQUEST", "V-16-1-10000", "ERROR", "after: not together with snapshot")
	}
	look, err := a.look(stream.Context())
	if err != nil {
		return err
	}
	for _, g := range r.GetGroups() {
		// Before there is a configuration nobody knows which groups there are.
		if _, err := find(look.groups(true), "Group", "V-16-1-40131", g); err != nil && look.cfg != nil {
			return err
		}
		w.groups[g] = true
	}
	var refused error
	if err := a.do(stream.Context(), func() {
		if r.GetAfter() != "" {
			if refused = a.loop.resume(w, r.GetAfter()); refused != nil {
				return
			}
		}
		if r.GetSnapshot() {
			a.loop.snapshotFor(w)
		}
		a.loop.watchers[w] = true
	}); err != nil {
		return err
	}
	if refused != nil {
		return refused
	}
	defer a.loop.post(func() { a.loop.dropWatcher(w, nil) })
	// The reader then knows that it was taken, also while nothing happens.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	for _, e := range w.first {
		if err := stream.Send(&hadv1.WatchEventsResponse{Event: e}); err != nil {
			return err
		}
	}
	w.first = nil
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case e, ok := <-w.events:
			if !ok {
				if w.err != nil {
					return w.err
				}
				return refusal(codes.Unavailable, "STOPPING", "V-16-1-11030", "NOTICE", "had stops")
			}
			if err := stream.Send(&hadv1.WatchEventsResponse{Event: e}); err != nil {
				return err
			}
		}
	}
}

// snapshotFor tells a new watcher the present state of everything.
func (l *loop) snapshotFor(w *watcher) {
	look := l.replica()
	at := positionProto(look.st.Pos)
	tell := func(e *hadv1.Event) {
		if w.wants(e) {
			w.first = append(w.first, e)
		}
	}
	for _, s := range look.systems(true) {
		tell(&hadv1.Event{Position: at, Kind: "system", System: s.GetName(), State: s.GetState()})
	}
	for _, g := range look.groups(true) {
		for _, on := range g.GetSystems() {
			tell(&hadv1.Event{Position: at, Kind: "group", Group: g.GetName(), System: on.GetSystem(), State: on.GetState()})
		}
	}
	for _, res := range look.resources(true) {
		for _, on := range res.GetSystems() {
			tell(&hadv1.Event{Position: at, Kind: "resource", Group: res.GetGroup(), Resource: res.GetName(),
				System: on.GetSystem(), State: on.GetState()})
		}
	}
	tell(&hadv1.Event{Position: at, Kind: "ready"})
}
