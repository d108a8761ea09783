// Package server is the shell of had: it joins port h of gab, feeds what comes
// out of the total order to the replicated engine, to the join machine and to
// the agent scheduler, and carries out their effects: entry points through the
// agent host, reports and snapshots through gab, protection through fencing.
// One goroutine, the loop, owns the three cores; everything else answers it
// with events.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/internal/localrpc"
	"github.com/evenkeel/evenkeel/internal/messagelog"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/release"
	"github.com/evenkeel/evenkeel/internal/standing"
	"github.com/evenkeel/evenkeel/internal/vclock"
	fencingv1 "github.com/evenkeel/evenkeel/proto/evenkeel/fencing/v1"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/host"
	"github.com/evenkeel/evenkeel/services/had/join"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// Version is had's release as EngineVersion shows it.
const Version = release.Version

// Agents is the agent host as the loop uses it; package host has the methods.
type Agents interface {
	EndFormer(ctx context.Context) error
	Start(decl host.TypeDecl, path string) error
	Open(ctx context.Context, typeName string, r host.Resource) error
	CloseResource(ctx context.Context, typeName string, r host.Resource) error
	Online(ctx context.Context, typeName string, r host.Resource, effect uint64) (time.Duration, error)
	Offline(ctx context.Context, typeName string, r host.Resource, effect uint64) (time.Duration, error)
	Monitor(ctx context.Context, typeName string, r host.Resource, detailed bool) (host.Status, error)
	Clean(ctx context.Context, typeName string, r host.Resource, why host.CleanReason) error
	AttrChanged(ctx context.Context, typeName string, r host.Resource, before map[string]host.Value) error
	Action(ctx context.Context, typeName string, r host.Resource, token string, args []string) (output string, exitCode int, err error)
	Info(ctx context.Context, typeName string, r host.Resource) (map[string]string, error)
	Stop(ctx context.Context, typeName string) error
	Restart(ctx context.Context, typeName string) error
	Watch(typeName string, r host.Resource)
	Events() <-chan host.Event
	PID(typeName string) int
	Close() error
}

// Config is what New needs. The functions are for tests; nil means the real
// thing.
type Config struct {
	Root paths.Root
	// Name of this system; "" means what the files say.
	Name string
	// OneNode runs a cluster of one without gab.
	OneNode bool
	// Stale treats a good configuration as stale; Force ignores .stale.
	Stale, Force bool
	// AgentDirs are searched for <Type>, in this order.
	AgentDirs []string
	// Hashadow is the program that watches had; "" means that none is started.
	Hashadow string
	// Hatrigger is the program that runs triggers; "" means that none is run.
	Hatrigger string
	// TriggerTimeout is after how long a trigger is ended; 0: a minute.
	TriggerTimeout time.Duration
	// BackupMinute is the unit of BackupInterval; 0: a minute.
	BackupMinute time.Duration
	Log          *slog.Logger

	OpenPort func(ctx context.Context) (Port, error)
	Declare  func(ctx context.Context, resources uint32, groups []string) error
	// ReadProtection reads what fencing has recorded of it.
	ReadProtection func() (standing.Protection, bool, error)
	Agents         Agents
	// ReadMeters measures this machine; without it and with an OpenPort
	// nothing is measured.
	ReadMeters func(now time.Time) ([]engine.Meter, error)
}

// Server is one had.
type Server struct {
	cfg   Config
	loop  *loop
	rpc   *localrpc.Server
	elog  *messagelog.Writer
	ready chan struct{} // closed when the socket serves and the loop turns
}

// New reads the configuration and prepares a had; Run runs it.
func New(cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Name == "" {
		name, err := cfg.Root.SystemName()
		if err != nil {
			return nil, err
		}
		cfg.Name = name
	}
	if err := cfg.Root.MakeRunDirs(); err != nil {
		return nil, err
	}
	settings, err := readSettings(cfg.Root)
	if err != nil {
		return nil, err
	}
	if dir := settings["agents"]; dir != "" {
		cfg.AgentDirs = append([]string{dir}, cfg.AgentDirs...)
	}
	if text := settings["trigger-timeout"]; text != "" {
		if cfg.TriggerTimeout, err = time.ParseDuration(text); err != nil || cfg.TriggerTimeout <= 0 {
			return nil, fmt.Errorf("had.conf: trigger-timeout=%s: say how long, such as trigger-timeout=90s", text)
		}
	}
	disk := readDisk(cfg.Root, cfg.Name)
	if cfg.OneNode {
		if err := mayRunAlone(cfg, disk); err != nil {
			return nil, err
		}
	}
	switch {
	case cfg.Stale && disk.state == join.DiskValid:
		disk.state = join.DiskStale
		disk.problems = []string{"had was started with -stale"}
	case cfg.Force && disk.state == join.DiskStale:
		disk.state, disk.problems = join.DiskValid, nil
	}
	if cfg.Declare == nil && !cfg.OneNode {
		cfg.ReadProtection = func() (standing.Protection, bool, error) { return standing.ReadProtection(cfg.Root) }
	}
	if cfg.ReadMeters == nil && cfg.OpenPort == nil {
		cfg.ReadMeters = (&procReader{dir: "/proc"}).read
	}
	l, err := newLoop(cfg, disk)
	if err != nil {
		return nil, err
	}
	return &Server{cfg: cfg, loop: l, ready: make(chan struct{})}, nil
}

// mayRunAlone refuses -onenode where another system could exist (R6).
func mayRunAlone(cfg Config, disk onDisk) error {
	if disk.config != nil && len(disk.config.Systems) > 1 {
		return fmt.Errorf("start had -onenode: main.cf declares %d systems; start gab and had without -onenode", len(disk.config.Systems))
	}
	if p, err := standing.Find(context.Background(), cfg.Root, standing.GAB); err == nil {
		p.Close()
		return errors.New("start had -onenode: gab runs here; start had without -onenode, or stop gab")
	}
	return nil
}

// Run serves until had leaves in order (nil), ctx is done (nil; applications
// are left running) or gab is lost (an error). It ends all its goroutines.
func (s *Server) Run(ctx context.Context) (err error) {
	if s.elog, err = messagelog.Open(s.cfg.Root.Log("engine")); err != nil {
		return err
	}
	defer s.elog.Close()
	s.loop.elog = s.elog
	if s.loop.agents, err = s.openAgents(); err != nil {
		return err
	}
	if s.loop.alogs != nil {
		defer s.loop.alogs.close() // after the agents' last words
	}
	defer s.loop.agents.Close()
	s.loop.openTriggers(s.cfg.TriggerTimeout)
	defer s.loop.triggers.Close()
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()

	s.rpc = localrpc.New(s.cfg.Root.Socket("had"), s.cfg.Log.With("part", "rpc"))
	api := &api{loop: s.loop, root: s.cfg.Root}
	hadv1.RegisterClusterServiceServer(s.rpc.GRPC, clusterAPI{api: api})
	hadv1.RegisterSystemServiceServer(s.rpc.GRPC, systemAPI{api: api})
	hadv1.RegisterGroupServiceServer(s.rpc.GRPC, groupAPI{api: api})
	hadv1.RegisterResourceServiceServer(s.rpc.GRPC, resourceAPI{api: api})
	hadv1.RegisterTypeServiceServer(s.rpc.GRPC, typeAPI{api: api})
	hadv1.RegisterAgentServiceServer(s.rpc.GRPC, agentAPI{api: api})
	hadv1.RegisterConfigServiceServer(s.rpc.GRPC, configAPI{api: api})
	hadv1.RegisterEventServiceServer(s.rpc.GRPC, eventAPI{api: api})
	served := make(chan error, 1) // one result; never blocks
	serveCtx, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	workers.Go(func() { served <- s.rpc.Serve(serveCtx) })
	s.say("V-16-1-10619", fmt.Sprintf("'HAD' starting on: %s", s.cfg.Name))
	if s.cfg.Hashadow != "" && !s.cfg.OneNode {
		workers.Go(func() { s.keepHashadow(ctx) })
	}
	close(s.ready)
	err = s.loop.run(ctx, served)
	if s.loop.left {
		err = errors.Join(err, s.goodbye())
	}
	stopServing() // after the last answers went out
	cancel()
	return err
}

// goodbye ends an ordered stop: the last answers leave, then everybody may
// know that this was no death.
func (s *Server) goodbye() error {
	done := make(chan struct{})
	go func() { s.rpc.GRPC.GracefulStop(); close(done) }() // ends with Serve
	select {
	case <-done:
	case <-time.After(time.Second): // streams of watchers do not end by themselves
	}
	s.say("V-16-1-10619", fmt.Sprintf("'HAD' stopped on: %s", s.cfg.Name))
	return standing.SayStopping(s.cfg.Root, standing.Had)
}

func (s *Server) keepHashadow(ctx context.Context) {
	err := standing.KeepRunning(ctx, standing.Keep{
		Root: s.cfg.Root, Name: standing.Hashadow, Log: s.cfg.Log.With("part", "standing"),
		Program: standing.Program{Path: s.cfg.Hashadow, Output: s.cfg.Root.Log("hashadow.out")},
	})
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.Error("hashadow is not kept running", "error", err)
	}
}

func (s *Server) openAgents() (Agents, error) {
	if s.cfg.Agents != nil {
		return s.cfg.Agents, nil
	}
	s.loop.alogs = newAgentLogs(s.cfg.Root, s.cfg.Name, s.cfg.Log)
	return host.New(host.Config{Dir: s.cfg.Root.Run("agents"), Log: s.cfg.Log.With("part", "agents"), AgentLog: s.loop.alogs.of})
}

// say writes a line about had itself into the engine log.
func (s *Server) say(id, text string) {
	s.elog.Write(messagelog.Record{Severity: "NOTICE", ID: id, Host: s.cfg.Name, System: s.cfg.Name, Text: text})
}

// declareToFencing tells fencing how much is protected here; an error says
// that the system is not armed (R2).
func declareToFencing(root paths.Root) func(context.Context, uint32, []string) error {
	return func(ctx context.Context, resources uint32, groups []string) error {
		conn, err := grpc.NewClient("unix:"+root.Socket("fencing"), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = fencingv1.NewFencingServiceClient(conn).DeclareProtection(ctx,
			&fencingv1.DeclareProtectionRequest{Resources: resources, Groups: groups})
		if err != nil {
			return errors.New(status.Convert(err).Message())
		}
		return nil
	}
}

func boottime() vclock.Time { return standing.Boottime() }
