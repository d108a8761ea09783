package vcs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/internal/cli/operate"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

const (
	modifyObject = "%[1]s Attr value... [-sys S]\n%[1]s Attr -add|-update key [value]... [-sys S]\n%[1]s Attr -delete key... [-sys S]\n%[1]s Attr -delete -keys [-sys S]"
	localGlobal  = "Attr value..."
)

// edits are the actions that change the configuration, with their usage. How
// their words are read is maincf's knowledge: the words go to the engine as
// typed, and all systems read them the same way.
var edits = map[string]map[string]string{
	"hagrp": {
		"add": "G", "delete": "G", "link": "P C online local|global|remote|site [soft|firm|hard]\nP C offline local", "unlink": "P C",
		"local": "G Attr", "global": "G " + localGlobal, "modify": fmt.Sprintf(modifyObject, "G"),
	},
	"hares": {
		"add": "R T G", "delete": "[-force] R", "link": "P C\nP C1,C2... -min N", "unlink": "P C[,C...]",
		"local": "R Attr", "global": "R " + localGlobal, "modify": fmt.Sprintf(modifyObject, "R"),
		"override": "R Attr", "undo_override": "R Attr",
	},
	"hasys":  {"add": "S", "delete": "S", "modify": strings.ReplaceAll(fmt.Sprintf(modifyObject, "S"), " [-sys S]", "")},
	"hatype": {"add": "T", "delete": "T", "modify": strings.ReplaceAll(fmt.Sprintf(modifyObject, "T"), " [-sys S]", "")},
	"haclus": {"add": "C ADDRESS", "delete": "C", "modify": "Attr value... [-clus C]\nAttr -add|-update key [value]... [-clus C]\nAttr -delete key... [-clus C]\nAttr -delete -keys [-clus C]"},
	"hahb": {
		"add": "HEARTBEAT", "delete": "HEARTBEAT", "local": "HEARTBEAT Attr", "global": "HEARTBEAT " + localGlobal,
		"modify": strings.ReplaceAll(fmt.Sprintf(modifyObject, "HEARTBEAT"), "-sys S", "-clus C"),
	},
	"haattr": {
		"add":     "[-static|-temp] T Attr [-string|-integer|-boolean|-float] [-scalar|-vector|-keylist|-assoc] [default...]",
		"default": "T Attr value...", "delete": "[-static|-temp] T Attr",
	},
}

// editOptions are the options inside an edit, which may be shortened, too.
var editOptions = map[string][]string{
	"modify": {"add", "update", "delete", "keys", "key", "sys", "clus", "localclus"},
	"link":   {"min", "clus", "localclus"},
	"add":    {"static", "temp", "string", "integer", "boolean", "float", "i18nstr", "scalar", "vector", "keylist", "assoc", "association", "clus", "localclus"},
	"delete": {"force", "static", "temp", "clus", "localclus"},
}

// edit is an action that changes the configuration.
func edit(program, name, usage string) action {
	return action{usage: usage, edits: true, run: func(ctx context.Context, s *session, l line) error {
		words, err := s.spelled(ctx, program, name, l.typed)
		if err != nil {
			return err
		}
		return s.change(ctx, append([]string{program, "-" + name}, words...))
	}}
}

// change sends edits as one change and prints what VCS says beside a success.
// What cannot be read as a command is wrong usage and never sent.
func (s *session) change(ctx context.Context, edits ...[]string) error {
	for _, words := range edits {
		if _, err := maincf.ParseArgs(words); err != nil {
			return fmt.Errorf("%w: %w", err, errUsage)
		}
	}
	answer, err := operate.Edit(ctx, s.had, operate.Request{Edits: edits})
	if err != nil {
		return err
	}
	s.notices(answer)
	return nil
}

// spelled writes out the options of an edit, and leaves out those that name
// this cluster. Numbers below zero are values.
func (s *session) spelled(ctx context.Context, program, name string, typed []string) ([]string, error) {
	known := editOptions[name]
	if known == nil {
		known = []string{"clus", "localclus"}
	}
	var words []string
	for i := 0; i < len(typed); i++ {
		word := typed[i]
		if !strings.HasPrefix(word, "-") || word == "-" || strings.ContainsAny(word[1:2], "0123456789.") {
			words = append(words, word)
			continue
		}
		option, err := complete(word[1:], known)
		if err != nil {
			return nil, fmt.Errorf("%s: a value that begins with - is written %%%s: %w", said(err), word, errUsage)
		}
		switch option {
		case "localclus":
			continue
		case "clus":
			if i++; i == len(typed) {
				return nil, fmt.Errorf("option -clus wants a value: %w", errUsage)
			}
			if program == "hahb" {
				words = append(words, "-clus", typed[i]) // the cluster that the value is local to
				continue
			}
			l := line{values: map[string][]string{"clus": {typed[i]}}}
			err := s.thisCluster(ctx, l)
			var other message
			switch {
			case err == nil:
				continue
			case program == "haclus" && errors.As(err, &other):
				words = append(words, "-clus", typed[i]) // the clause of a remote cluster
				continue
			default:
				return nil, err
			}
		default:
			words = append(words, "-"+option)
		}
	}
	return words, nil
}

func confActions() map[string]action {
	return map[string]action{
		"makerw": {changes: true, run: func(ctx context.Context, s *session, _ line) error {
			return s.done(operate.MakeWritable(ctx, s.had, operate.Request{}))
		}},
		"dump": {usage: "[-makero]", options: []string{"makero"}, changes: true, run: func(ctx context.Context, s *session, l line) error {
			o, err := operate.Dump(ctx, s.had, operate.Request{ReadOnly: l.flags["makero"]})
			if err := s.done(o, err); err != nil {
				return err
			}
			// A disk that did not take it in time to be told: the others have it.
			if slices.ContainsFunc(o.GetNotices(), func(n *hadv1.Notice) bool { return n.GetSeverity() == "ERROR" }) {
				return errQuiet
			}
			return nil
		}},
	}
}

// done prints the notices of an operation that was carried out.
func (s *session) done(o *hadv1.Operation, err error) error {
	if err == nil {
		s.notices(o)
	}
	return err
}
