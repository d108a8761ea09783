package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/test/lab"
)

const (
	group   = "NFS_group1"
	first   = "Server1"
	second  = "Server2"
	address = "192.168.1.3"
	online  = "|ONLINE|"
	url     = "nfs://" + address + "/export/home/payload?version=4"
)

type demo struct {
	lab      *lab.Lab
	size     int
	began    time.Time
	tmp      string
	checksum string
	table    table
}

func newDemo(name string, mib int) *demo {
	return &demo{lab: lab.New(name), size: mib, began: time.Now()}
}

// say prints a line of progress with the time since the start.
func (d *demo) say(format string, args ...any) {
	fmt.Printf("[%6.2f s] %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		d.up, d.clientWrites, d.powerFails, d.bootAgain, d.switchBack,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.table.print()
	return nil
}

func (d *demo) up(ctx context.Context) error {
	if !lab.Privileged() {
		return fmt.Errorf("the demo needs root for namespaces and mounts; without root look at: bin/halab up --conf examples/two-systems --unprivileged")
	}
	tmp, err := os.MkdirTemp("", "evenkeel-demo-")
	if err != nil {
		return err
	}
	d.tmp = tmp
	d.say("starting a lab: %s and %s, two private links, one public network, a client", first, second)
	conf := filepath.Join(lab.Repository(), "examples/nfs")
	if err := d.lab.Up(ctx, conf, 90*time.Second); err != nil {
		return err
	}
	out, err := d.lab.Must(ctx, first, "hastatus", "-sum")
	if err != nil {
		return err
	}
	fmt.Println(indent(out))
	if err := d.lab.WaitGroup(within(ctx, 30*time.Second), first, group, first, online); err != nil {
		return err
	}
	d.say("%s is online on %s", group, first)
	out, err = d.lab.Must(ctx, first, "ha", "fencing", "status")
	if err != nil {
		return err
	}
	fmt.Println(indent(out))
	return nil
}

// clientWrites lets the client write a file of random bytes through NFS and
// commit them to stable storage. During the server's grace period opens are
// refused, so it tries until it may.
func (d *demo) clientWrites(ctx context.Context) error {
	seed := [32]byte{}
	copy(seed[:], d.lab.Name)
	bytes := make([]byte, d.size<<20)
	rand.NewChaCha8(seed).Read(bytes)
	d.checksum = fmt.Sprintf("%x", sha256.Sum256(bytes))
	d.say("the client writes %d MiB to %s and commits them", d.size, url)
	began := time.Now()
	err := lab.Until(within(ctx, 60*time.Second), "the client's write", func(ctx context.Context) (bool, string) {
		command := d.lab.Command(ctx, "client", filepath.Join(d.lab.Bin, "lab-nfswrite"), url)
		command.Stdin = strings.NewReader(string(bytes))
		out, err := command.CombinedOutput()
		return err == nil, strings.TrimSpace(string(out))
	})
	if err != nil {
		return err
	}
	d.say("written in %.1f s, SHA-256 %s", time.Since(began).Seconds(), d.checksum[:16])
	return nil
}

// read lets the client read the file and returns its checksum.
func (d *demo) read(ctx context.Context) (string, error) {
	out, err := d.lab.Must(ctx, "client", "sh", "-c", "nfs-cat '"+url+"' | sha256sum")
	if err != nil {
		return "", err
	}
	sum, _, _ := strings.Cut(out, " ")
	return sum, nil
}

// mustRead reads until the checksum is right: during the grace period the
// server refuses to open files, and libnfs does not try again by itself.
func (d *demo) mustRead(ctx context.Context, from string) error {
	err := lab.Until(within(ctx, 90*time.Second), "the client to read the same bytes from "+from, func(ctx context.Context) (bool, string) {
		sum, err := d.read(ctx)
		if err != nil {
			return false, err.Error()
		}
		return sum == d.checksum, "checksum " + sum
	})
	if err == nil {
		d.say("the client reads the same bytes from %s at %s", from, address)
	}
	return err
}

func (d *demo) powerFails(ctx context.Context) error {
	witness, err := d.lab.Witness(ctx, "hme0", address)
	if err != nil {
		return err
	}
	defer witness.Stop()
	err = lab.Until(within(ctx, 10*time.Second), "the witness to hear "+address, func(context.Context) (bool, string) {
		return witness.Owner() != "", "nobody answers"
	})
	if err != nil {
		return err
	}
	before := witness.Owner()
	d.say("power failure of %s", first)
	if err := d.lab.Crash(ctx, first); err != nil {
		return err
	}
	d.say("%s is off; the address now answers from %s or nobody", first, second)
	if err := d.lab.WaitGroup(within(ctx, 60*time.Second), second, group, second, online); err != nil {
		return err
	}
	d.say("%s is online on %s", group, second)
	seen := failed{refused: time.Now()}
	err = lab.Until(within(ctx, 90*time.Second), "the client to read from "+second, func(ctx context.Context) (bool, string) {
		out, err := d.lab.Must(ctx, "client", "sh", "-c", "nfs-cat '"+url+"' | head -c 1 | wc -c")
		if err == nil && strings.TrimSpace(out) == "1" {
			seen.answered = time.Now()
			return true, ""
		}
		seen.refused = time.Now()
		return false, strings.TrimSpace(out)
	})
	if err != nil {
		return err
	}
	d.say("the grace period of the NFS server is over: the client reads again")
	if err := d.mustRead(ctx, second); err != nil {
		return err
	}
	for _, s := range witness.Stop() {
		switch {
		case s.Violation != "":
			return fmt.Errorf("two owners of %s: %s", address, s.Violation)
		case s.Owner != nil && *s.Owner == "" && seen.ended.IsZero():
			seen.began = s.At()
		case s.Owner != nil && *s.Owner != before && seen.ended.IsZero():
			seen.ended = s.At()
		}
	}
	return d.measure(ctx, seen)
}

func (d *demo) bootAgain(ctx context.Context) error {
	d.say("booting %s again", first)
	if err := d.lab.Boot(ctx, first); err != nil {
		return err
	}
	err := lab.Until(within(ctx, 60*time.Second), first+" to be RUNNING", func(ctx context.Context) (bool, string) {
		out, err := d.lab.Must(ctx, second, "hasys", "-state", first)
		if err != nil {
			return false, err.Error()
		}
		return strings.TrimSpace(out) == "RUNNING", strings.TrimSpace(out)
	})
	if err != nil {
		return err
	}
	d.say("%s is RUNNING; the group stays on %s: nothing fails back by itself", first, second)
	return nil
}

func (d *demo) switchBack(ctx context.Context) error {
	d.say("switching the group back by hand: hagrp -switch %s -to %s", group, first)
	err := lab.Until(within(ctx, 30*time.Second), "the switch to be accepted", func(ctx context.Context) (bool, string) {
		result, err := d.lab.Exec(ctx, second, "hagrp", "-switch", group, "-to", first)
		if err != nil {
			return false, err.Error()
		}
		return result.Code == 0, strings.TrimSpace(result.Out + result.Err)
	})
	if err != nil {
		return err
	}
	began := time.Now()
	if err := d.lab.WaitGroup(within(ctx, 60*time.Second), first, group, first, online); err != nil {
		return err
	}
	d.beside("switch back by hand, to ONLINE", time.Since(began))
	d.say("%s is online on %s", group, first)
	if err := d.mustRead(ctx, first); err != nil {
		return err
	}
	out, err := d.lab.Must(ctx, first, "hastatus", "-sum")
	if err != nil {
		return err
	}
	fmt.Println(indent(out))
	return nil
}

// end takes the lab down and removes what the demo made.
func (d *demo) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	d.say("taking the lab down")
	err := d.lab.Down(ctx)
	if d.tmp != "" {
		os.RemoveAll(d.tmp)
	}
	return err
}

// showLogs prints the end of each system's engine log after a failure.
func (d *demo) showLogs() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, system := range []string{first, second} {
		result, err := d.lab.Exec(ctx, system, "sh", "-c", "tail -n 40 /var/log/evenkeel/engine_A.log")
		fmt.Printf("--- engine log of %s (%v)\n%s%s", system, err, result.Out, result.Err)
	}
}

func (d *demo) howToPlay() {
	fmt.Printf(`
The cluster is up. Try:

  bin/halab exec --name %[1]s Server1 -- hastatus -sum
  bin/halab exec --name %[1]s Server1 -- ha group explain NFS_group1
  bin/halab exec --name %[1]s client  -- nfs-ls 'nfs://192.168.1.3/export/home?version=4'
  bin/halab crash --name %[1]s Server1      # and watch it: bin/halab exec --name %[1]s Server2 -- hastatus -sum
  bin/halab boot  --name %[1]s Server1
  bin/halab exec  --name %[1]s Server1 -- bash

and end it with:

  bin/halab down --name %[1]s
`, d.lab.Name)
}

func within(ctx context.Context, limit time.Duration) context.Context {
	bounded, cancel := context.WithTimeout(ctx, limit)
	context.AfterFunc(bounded, cancel)
	return bounded
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}
