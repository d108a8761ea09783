//go:build linux

package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/evenkeel/evenkeel/internal/paths"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// Status is what halab status shows.
type Status struct {
	Name         string       `json:"name"`
	Root         string       `json:"root"`
	Unprivileged bool         `json:"unprivileged"`
	Systems      []HostStatus `json:"systems"`
	Client       *HostStatus  `json:"client,omitempty"`
	Cuts         []string     `json:"cuts"`
	Switch       string       `json:"switch"`
	// Supervisor is the process that holds the lab.
	Supervisor int `json:"supervisor"`
}

// HostStatus is one system or the client.
type HostStatus struct {
	Name string `json:"name"`
	// Root is where the system's files are seen from outside, "" if it is off.
	Root string `json:"root"`
	// State is on, off or frozen.
	State string `json:"state"`
	// PIDs are its init and its daemons by name, in this machine's numbers.
	PIDs map[string]int `json:"pids"`
	// Processes are all its processes, init first.
	Processes []int `json:"processes"`
	// Had is the state of the system in the cluster as its own had sees it.
	Had     string `json:"had,omitempty"`
	Address string `json:"address,omitempty"`
}

func (s *Supervisor) status() Status {
	status := Status{Name: s.spec.Name, Root: s.place.Dir, Unprivileged: s.spec.Unprivileged, Switch: s.place.SwitchSocket(), Cuts: []string{}, Supervisor: os.Getpid()}
	s.netMu.Lock()
	if s.network != nil {
		status.Cuts = append(status.Cuts, s.network.Cuts()...)
	}
	s.netMu.Unlock()
	names := s.spec.Hosts()
	hosts := make([]HostStatus, len(names))
	var wait sync.WaitGroup
	for i, name := range names {
		wait.Go(func() { hosts[i] = s.hosts[name].status() })
	}
	wait.Wait()
	status.Systems = hosts[:len(s.spec.Systems)]
	if !s.spec.Unprivileged {
		status.Client = &hosts[len(hosts)-1]
	}
	return status
}

func (h *host) status() HostStatus {
	state, process := h.state()
	status := HostStatus{Name: h.name, State: state, PIDs: map[string]int{}, Processes: []int{}}
	if !h.s.spec.Unprivileged {
		status.Address = h.s.spec.Address(h.name)
	}
	if process == nil {
		return status
	}
	status.Root, status.Processes = process.Root(), append(status.Processes, process.PIDs()...)
	status.PIDs = process.Daemons([]string{"gab", "fencing", "hashadow", "had"})
	status.PIDs["init"] = process.PID
	if state == "on" && !h.s.spec.NoDaemons && !h.isClient() {
		if answer, err := h.askHad(time.Second); err == nil {
			status.Had = answer.GetLocalState()
		}
	}
	return status
}

// maxAnswer bounds what had may answer: thousands of resources.
const maxAnswer = 64 << 20

// askHad asks the system's own had how things stand, without the attributes
// of the objects.
func (h *host) askHad(timeout time.Duration) (*hadv1.GetStatusResponse, error) {
	var answer *hadv1.GetStatusResponse
	err := h.withHad(timeout, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		answer, err = hadv1.NewClusterServiceClient(conn).GetStatus(ctx, &hadv1.GetStatusRequest{Brief: true})
		return err
	})
	return answer, err
}

// askGroups asks it for all groups with their attributes.
func (h *host) askGroups(timeout time.Duration) (groups []*hadv1.Group, err error) {
	err = h.withHad(timeout, func(ctx context.Context, conn *grpc.ClientConn) error {
		for token := ""; ; {
			a, err := hadv1.NewGroupServiceClient(conn).ListGroups(ctx, &hadv1.ListGroupsRequest{PageToken: token})
			groups = append(groups, a.GetGroups()...)
			if token = a.GetNextPageToken(); err != nil || token == "" {
				return err
			}
		}
	})
	return groups, err
}

func (h *host) withHad(timeout time.Duration, ask func(context.Context, *grpc.ClientConn) error) error {
	process, err := h.running()
	if err != nil {
		return err
	}
	socket := paths.Root(process.Root()).Socket("had")
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return ask(ctx, conn)
}

// Settled says whether all systems are RUNNING and autostart is over, and if
// not, what is waited for.
type Settled struct {
	Yes bool `json:"yes"`
	// Started is false while a group that should start by itself is offline
	// everywhere though nothing moves: it may still be about to.
	Started bool     `json:"started"`
	Waiting []string `json:"waiting"`
	// Kept is true once halab up has seen the lab ready, or given up waiting.
	Kept bool `json:"kept"`
}

func (s *Supervisor) settled() Settled {
	s.mu.Lock()
	result := Settled{Started: true, Kept: s.kept}
	s.mu.Unlock()
	if s.spec.NoDaemons {
		result.Yes = true
		return result
	}
	for _, name := range s.spec.Systems {
		answer, err := s.hosts[name].askHad(2 * time.Second)
		if err != nil {
			result.Waiting = append(result.Waiting, fmt.Sprintf("%s: had does not answer (%v)", name, err))
			continue
		}
		if state := answer.GetLocalState(); state != "RUNNING" {
			reason := append([]string{answer.GetWaitingFor()}, answer.GetConfigErrors()...)
			if answer.Gate != nil {
				reason = append(reason, answer.GetGate())
			}
			reason = slices.DeleteFunc(reason, func(text string) bool { return text == "" })
			result.Waiting = append(result.Waiting, strings.TrimSuffix(fmt.Sprintf("%s is %s: %s", name, state, strings.Join(reason, "; ")), ": "))
			continue
		}
		if name == s.spec.Systems[0] {
			groups, err := s.hosts[name].askGroups(2 * time.Second)
			if err != nil {
				result.Waiting = append(result.Waiting, fmt.Sprintf("%s: had does not tell its groups (%v)", name, err))
				continue
			}
			waiting, started := groupsWait(groups)
			result.Waiting = append(result.Waiting, waiting...)
			result.Started = started
		}
	}
	result.Yes = len(result.Waiting) == 0
	return result
}

// groupsWait names the groups that move, or are not probed, or have not
// started though they should.
func groupsWait(groups []*hadv1.Group) (waiting []string, started bool) {
	started = true
	for _, group := range groups {
		alive := false
		for _, on := range group.GetSystems() {
			state := on.GetState()
			switch {
			case !on.GetProbed():
				waiting = append(waiting, fmt.Sprintf("group %s is not probed on %s", group.GetName(), on.GetSystem()))
			case strings.Contains(state, "STARTING") || strings.Contains(state, "STOPPING"):
				waiting = append(waiting, fmt.Sprintf("group %s is %s on %s", group.GetName(), state, on.GetSystem()))
			}
			alive = alive || strings.Contains(state, "ONLINE") || strings.Contains(state, "PARTIAL") || strings.Contains(state, "FAULTED")
		}
		if !alive && autostarts(group) {
			started = false
		}
	}
	return waiting, started
}

func autostarts(group *hadv1.Group) bool {
	list, on := false, true
	for _, attribute := range group.GetAttributes() {
		switch value := strings.TrimSpace(attribute.GetValue()); attribute.GetName() {
		case "AutoStartList":
			list = value != ""
		case "AutoStart":
			on = value != "0"
		}
	}
	return list && on
}

// Logs are the files that tell what a system did.
type Logs struct {
	Files []string `json:"files"`
	Note  string   `json:"note,omitempty"`
}

func (h *host) logs() Logs {
	logs := Logs{Files: []string{h.s.place.Console(h.name)}}
	_, process := h.state()
	if process == nil {
		logs.Note = h.name + " is off; its own logs lie on its disk and can be read after halab boot " + h.name
		return logs
	}
	more, _ := filepath.Glob(filepath.Join(paths.Root(process.Root()).LogDir(), "*.log"))
	logs.Files = append(logs.Files, more...)
	return logs
}
