package connect

import (
	"context"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// pages calls for page after page until the last; next returns the token of
// the page after.
func pages(next func(token string) (string, error)) error {
	token := ""
	for {
		var err error
		if token, err = next(token); err != nil || token == "" {
			return err
		}
	}
}

// AllGroups returns all groups that fulfil the conditions.
func (h *Had) AllGroups(ctx context.Context, conditions []string) (all []*hadv1.Group, err error) {
	err = pages(func(token string) (string, error) {
		a, err := h.Groups.ListGroups(ctx, &hadv1.ListGroupsRequest{PageToken: token, Conditions: conditions})
		all = append(all, a.GetGroups()...)
		return a.GetNextPageToken(), err
	})
	return all, err
}

// TheGroups returns the named groups in that order, or all if none is named.
func (h *Had) TheGroups(ctx context.Context, names []string) ([]*hadv1.Group, error) {
	if len(names) == 0 {
		return h.AllGroups(ctx, nil)
	}
	var all []*hadv1.Group
	for _, name := range names {
		a, err := h.Groups.GetGroup(ctx, &hadv1.GetGroupRequest{Name: name})
		if err != nil {
			return nil, err
		}
		all = append(all, a.GetGroup())
	}
	return all, nil
}

// AllResources returns all resources that fulfil the conditions, of one group
// or, for "", of all.
func (h *Had) AllResources(ctx context.Context, group string, conditions []string) (all []*hadv1.Resource, err error) {
	err = pages(func(token string) (string, error) {
		a, err := h.Resources.ListResources(ctx, &hadv1.ListResourcesRequest{PageToken: token, Conditions: conditions, Group: group})
		all = append(all, a.GetResources()...)
		return a.GetNextPageToken(), err
	})
	return all, err
}

// TheResources returns the named resources in that order, or all.
func (h *Had) TheResources(ctx context.Context, names []string) ([]*hadv1.Resource, error) {
	if len(names) == 0 {
		return h.AllResources(ctx, "", nil)
	}
	var all []*hadv1.Resource
	for _, name := range names {
		a, err := h.Resources.GetResource(ctx, &hadv1.GetResourceRequest{Name: name})
		if err != nil {
			return nil, err
		}
		all = append(all, a.GetResource())
	}
	return all, nil
}

// AllSystems returns all systems that fulfil the conditions.
func (h *Had) AllSystems(ctx context.Context, conditions []string) (all []*hadv1.System, err error) {
	err = pages(func(token string) (string, error) {
		a, err := h.Systems.ListSystems(ctx, &hadv1.ListSystemsRequest{PageToken: token, Conditions: conditions})
		all = append(all, a.GetSystems()...)
		return a.GetNextPageToken(), err
	})
	return all, err
}

// TheSystems returns the named systems in that order, or all.
func (h *Had) TheSystems(ctx context.Context, names []string) ([]*hadv1.System, error) {
	if len(names) == 0 {
		return h.AllSystems(ctx, nil)
	}
	var all []*hadv1.System
	for _, name := range names {
		a, err := h.Systems.GetSystem(ctx, &hadv1.GetSystemRequest{Name: name})
		if err != nil {
			return nil, err
		}
		all = append(all, a.GetSystem())
	}
	return all, nil
}

// AllTypes returns all types that fulfil the conditions.
func (h *Had) AllTypes(ctx context.Context, conditions []string) (all []*hadv1.Type, err error) {
	err = pages(func(token string) (string, error) {
		a, err := h.Types.ListTypes(ctx, &hadv1.ListTypesRequest{PageToken: token, Conditions: conditions})
		all = append(all, a.GetTypes()...)
		return a.GetNextPageToken(), err
	})
	return all, err
}

// TheTypes returns the named types in that order, or all.
func (h *Had) TheTypes(ctx context.Context, names []string) ([]*hadv1.Type, error) {
	if len(names) == 0 {
		return h.AllTypes(ctx, nil)
	}
	var all []*hadv1.Type
	for _, name := range names {
		a, err := h.Types.GetType(ctx, &hadv1.GetTypeRequest{Name: name})
		if err != nil {
			return nil, err
		}
		all = append(all, a.GetType())
	}
	return all, nil
}

// AgentsOf returns the agents of a system, or of all if it is "".
func (h *Had) AgentsOf(ctx context.Context, system string) (all []*hadv1.Agent, err error) {
	err = pages(func(token string) (string, error) {
		a, err := h.Agents.ListAgents(ctx, &hadv1.ListAgentsRequest{PageToken: token, System: system, AllSystems: system == ""})
		all = append(all, a.GetAgents()...)
		return a.GetNextPageToken(), err
	})
	return all, err
}

// AllAgents returns the agents of this system.
func (h *Had) AllAgents(ctx context.Context) (all []*hadv1.Agent, err error) {
	err = pages(func(token string) (string, error) {
		a, err := h.Agents.ListAgents(ctx, &hadv1.ListAgentsRequest{PageToken: token})
		all = append(all, a.GetAgents()...)
		return a.GetNextPageToken(), err
	})
	return all, err
}

// GroupStates returns all groups without their attributes.
func (h *Had) GroupStates(ctx context.Context) ([]*hadv1.Group, error) {
	a, err := h.Clusters.GetStatus(ctx, &hadv1.GetStatusRequest{Brief: true})
	return a.GetGroups(), err
}

// ResourceStates returns all resources without their attributes.
func (h *Had) ResourceStates(ctx context.Context) ([]*hadv1.Resource, error) {
	a, err := h.Clusters.GetStatus(ctx, &hadv1.GetStatusRequest{Brief: true})
	return a.GetResources(), err
}
