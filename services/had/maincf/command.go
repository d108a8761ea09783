package maincf

import (
	"fmt"
	"strconv"
	"strings"
)

// Args returns the command that makes the edit: the program and its words.
func (e Edit) Args() []string {
	switch e.Action {
	case ActAddAttr, ActDefault, ActDeleteAttr:
		return e.attrArgs()
	case ActLink:
		if e.Class == ClassGroup {
			out := []string{"hagrp", "-link", e.Name, e.Child, e.Category, e.Location}
			if e.Rigidity != "" {
				out = append(out, e.Rigidity)
			}
			return out
		}
		out := []string{"hares", "-link", e.Name, strings.Join(e.Children, ",")}
		if e.AtLeast > 0 {
			out = append(out, "-min", strconv.Itoa(e.AtLeast))
		}
		return out
	case ActUnlink:
		if e.Class == ClassGroup {
			return []string{"hagrp", "-unlink", e.Name, e.Child}
		}
		return []string{"hares", "-unlink", e.Name, strings.Join(e.Children, ",")}
	}
	program := e.Class.program()
	switch e.Action {
	case ActAdd:
		out := []string{program, "-add", e.Name}
		if e.Class == ClassResource {
			return append(out, e.Type, e.Group)
		}
		return append(out, escaped(e.Words)...)
	case ActDelete:
		if e.Force {
			return []string{program, "-delete", "-force", e.Name}
		}
		return []string{program, "-delete", e.Name}
	case ActLocal:
		return []string{program, "-local", e.Name, e.Attr}
	case ActGlobal:
		return append([]string{program, "-global", e.Name, e.Attr}, escaped(e.Words)...)
	case ActOverride:
		return []string{program, "-override", e.Name, e.Attr}
	case ActUndoOverride:
		return []string{program, "-undo_override", e.Name, e.Attr}
	}
	return e.modifyArgs(program)
}

func (c Class) program() string {
	switch c {
	case ClassCluster, ClassRemote:
		return "haclus"
	case ClassHeartbeat:
		return "hahb"
	case ClassSystem:
		return "hasys"
	case ClassGroup:
		return "hagrp"
	case ClassResource:
		return "hares"
	default:
		return "hatype"
	}
}

func (e Edit) modifyArgs(program string) []string {
	out := []string{program, "-modify"}
	if program != "haclus" {
		out = append(out, e.Name)
	}
	out = append(out, e.Attr)
	switch e.How {
	case AddItems:
		out = append(out, "-add")
	case UpdateItems:
		out = append(out, "-update")
	case DeleteItems:
		out = append(out, "-delete")
	case DeleteAll:
		out = append(out, "-delete", "-keys")
	}
	out = append(out, escaped(e.Words)...)
	switch {
	case e.Class == ClassRemote:
		out = append(out, "-clus", e.Name)
	case e.System != "" && e.Class == ClassHeartbeat:
		out = append(out, "-clus", e.System)
	case e.System != "":
		out = append(out, "-sys", e.System)
	}
	return out
}

var kindOptions = map[Kind]string{KindStr: "-string", KindInt: "-integer", KindBool: "-boolean", KindFloat: "-float"}
var dimOptions = map[Dim]string{DimScalar: "-scalar", DimVector: "-vector", DimKeylist: "-keylist", DimAssoc: "-assoc"}

func (e Edit) attrArgs() []string {
	out := []string{"haattr"}
	class := func() {
		if e.Static {
			out = append(out, "-static")
		}
		if e.Temp {
			out = append(out, "-temp")
		}
	}
	switch e.Action {
	case ActDefault:
		return append(append(out, "-default", e.Name, e.Attr), escaped(e.Words)...)
	case ActDeleteAttr:
		out = append(out, "-delete")
		class()
		return append(out, e.Name, e.Attr)
	}
	out = append(out, "-add")
	class()
	kind := kindOptions[e.Kind]
	if e.I18n {
		kind = "-i18nstr"
	}
	out = append(out, e.Name, e.Attr, kind, dimOptions[e.Dim])
	if e.Explicit {
		out = append(out, escaped(e.Words)...)
	}
	return out
}

// escaped writes values as the command line takes them: what begins with - or
// % has a % before it.
func escaped(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		if strings.HasPrefix(w, "-") || strings.HasPrefix(w, "%") {
			w = "%" + w
		}
		out[i] = w
	}
	return out
}

// unescaped reverses escaped; any other % stands for itself.
func unescaped(w string) string {
	if strings.HasPrefix(w, "%-") || strings.HasPrefix(w, "%%") {
		return w[1:]
	}
	return w
}

// String is the command as one line for a shell.
func (e Edit) String() string {
	args := e.Args()
	for i, a := range args {
		args[i] = shellWord(a)
	}
	return strings.Join(args, " ")
}

func shellWord(w string) string {
	plain := w != ""
	for i := 0; i < len(w); i++ {
		if c := w[i]; !isLetter(c) && !isDigit(c) && strings.IndexByte("-_./:,@%+=", c) < 0 {
			plain = false
		}
	}
	if plain {
		return w
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(w); i++ {
		if strings.IndexByte("\\\"$`", w[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(w[i])
	}
	b.WriteByte('"')
	return b.String()
}

// SplitLine cuts a line into words as a shell does: blanks, double quotes (in
// which \ stands before \, ", $ and `), single quotes, a \ before any
// character, and # before a comment.
func SplitLine(line string) ([]string, error) {
	var out []string
	var b strings.Builder
	open := false // a word has begun
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == ' ' || c == '\t' || c == '\r':
			if open {
				out, open = append(out, b.String()), false
				b.Reset()
			}
		case c == '#' && !open:
			return out, nil
		case c == '\'' || c == '"':
			n, ok := quotedPart(line[i:], &b)
			if !ok {
				return nil, fmt.Errorf("the closing %c is missing", c)
			}
			open = true
			i += n - 1
		case c == '\\' && i+1 < len(line):
			i++
			b.WriteByte(line[i])
			open = true
		default:
			b.WriteByte(c)
			open = true
		}
	}
	if open {
		out = append(out, b.String())
	}
	return out, nil
}

// quotedPart reads a quoted part of a word and returns its length.
func quotedPart(s string, b *strings.Builder) (int, bool) {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return i + 1, true
		case s[0] == '"' && s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\\\"$`", s[i+1]) >= 0:
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	return 0, false
}

// ParseCommands reads a file of commands, one a line, as Commands writes it.
// Lines of haconf, blank lines and comments do nothing. The error is Errors.
func ParseCommands(file, script string) ([]Edit, error) {
	edits, _, err := parseCommands(file, script)
	return edits, err
}

func parseCommands(file, script string) ([]Edit, []int, error) {
	var edits []Edit
	var lines []int
	var said Errors
	for n, line := range strings.Split(script, "\n") {
		words, err := SplitLine(line)
		if err == nil && (len(words) == 0 || words[0] == "haconf") {
			continue
		}
		var e Edit
		if err == nil {
			e, err = ParseArgs(words)
		}
		if err != nil {
			if len(said) == maxMessages {
				break
			}
			said = append(said, Diagnostic{Pos{file, n + 1, 1}, err.Error()})
			continue
		}
		edits, lines = append(edits, e), append(lines, n+1)
	}
	if len(said) > 0 {
		return nil, nil, said
	}
	return edits, lines, nil
}

// ParseArgs reads one command that changes the configuration: the program
// and its words. The error says what is wrong with them.
func ParseArgs(args []string) (Edit, error) {
	if len(args) < 2 {
		return Edit{}, fmt.Errorf("a command is a program and an option, as in hares -modify R Attr value")
	}
	class, ok := map[string]Class{"haclus": ClassCluster, "hahb": ClassHeartbeat, "hasys": ClassSystem, "hagrp": ClassGroup,
		"hares": ClassResource, "hatype": ClassType, "haattr": ClassType}[args[0]]
	programs := []string{"haclus", "hahb", "hasys", "hagrp", "hares", "hatype", "haattr"}
	if !ok {
		return Edit{}, fmt.Errorf("unknown command %s%s", clip(args[0]), didYouMean(args[0], programs))
	}
	e := Edit{Class: class}
	option, words := args[1], args[2:]
	if args[0] == "haattr" {
		return e.parseAttr(option, words)
	}
	switch option {
	case "-add":
		return e.parseAdd(words)
	case "-delete":
		e.Action = ActDelete
		if class == ClassResource && len(words) > 1 && words[0] == "-force" {
			e.Force, words = true, words[1:]
		}
		if class == ClassCluster {
			e.Class = ClassRemote
		}
		return e.named(words, &e.Name)
	case "-modify":
		return e.parseModify(args[0], words)
	}
	switch {
	case option == "-link" && class == ClassGroup:
		return e.parseGroupLink(words)
	case option == "-unlink" && class == ClassGroup:
		e.Action = ActUnlink
		return e.named(words, &e.Name, &e.Child)
	case (option == "-link" || option == "-unlink") && class == ClassResource:
		return e.parseResourceLink(option, words)
	case option == "-override" && class == ClassResource:
		e.Action = ActOverride
		return e.named(words, &e.Name, &e.Attr)
	case option == "-undo_override" && class == ClassResource:
		e.Action = ActUndoOverride
		return e.named(words, &e.Name, &e.Attr)
	case (option == "-local" || option == "-global") && (class == ClassResource || class == ClassGroup || class == ClassHeartbeat):
		if len(words) < 2 {
			return e, fmt.Errorf("%s %s takes an object and an attribute", args[0], option)
		}
		e.Action, e.Name, e.Attr = ActLocal, words[0], words[1]
		if option == "-local" {
			return e.named(words, &e.Name, &e.Attr)
		}
		e.Action = ActGlobal
		return e.took(words[2:])
	}
	return e, fmt.Errorf("unknown option %s of %s%s", clip(option), args[0],
		didYouMean(option, []string{"-add", "-delete", "-modify", "-link", "-unlink", "-local", "-global", "-override", "-undo_override"}))
}

// named takes exactly as many words as there are places for them.
func (e *Edit) named(words []string, places ...*string) (Edit, error) {
	if len(words) != len(places) {
		return *e, fmt.Errorf("%d words after the option, expected %d", len(words), len(places))
	}
	for i, p := range places {
		*p = words[i]
	}
	return *e, nil
}

// took appends values; what begins with - is an option unless it is a number.
func (e Edit) took(words []string) (Edit, error) {
	for _, w := range words {
		if strings.HasPrefix(w, "-") && !isNumber(w) && !isFloat(w) {
			return e, fmt.Errorf("unexpected option %s: a value that begins with - is written %%%s", clip(w), clip(w))
		}
		e.Words = append(e.Words, unescaped(w))
	}
	return e, nil
}

func (e Edit) parseAdd(words []string) (Edit, error) {
	e.Action = ActAdd
	switch {
	case e.Class == ClassResource:
		if len(words) != 3 {
			return e, fmt.Errorf("hares -add takes a resource, its type and its group")
		}
		e.Name, e.Type, e.Group = words[0], words[1], words[2]
		return e, nil
	case e.Class == ClassCluster:
		e.Class = ClassRemote
		if len(words) != 2 && len(words) != 1 {
			return e, fmt.Errorf("haclus -add takes a remote cluster and its address")
		}
		e.Name = words[0]
		return e.took(words[1:])
	}
	if len(words) != 1 {
		return e, fmt.Errorf("-add takes one name")
	}
	e.Name = words[0]
	return e, nil
}

func (e Edit) parseModify(program string, words []string) (Edit, error) {
	e.Action = ActModify
	if program != "haclus" {
		if len(words) == 0 {
			return e, fmt.Errorf("%s -modify takes an object, an attribute and a value", program)
		}
		e.Name, words = words[0], words[1:]
	}
	if len(words) == 0 {
		return e, fmt.Errorf("%s -modify: the name of the attribute is missing", program)
	}
	e.Attr, words = words[0], words[1:]
	if n := len(words); n >= 2 && (words[n-2] == "-sys" || words[n-2] == "-clus") {
		switch {
		case words[n-2] == "-sys" && e.Class != ClassHeartbeat, words[n-2] == "-clus" && e.Class == ClassHeartbeat:
			e.System = words[n-1]
		case words[n-2] == "-clus" && e.Class == ClassCluster:
			e.Class, e.Name = ClassRemote, words[n-1]
		default:
			return e, fmt.Errorf("%s -modify takes no %s", program, words[n-2])
		}
		words = words[:n-2]
	}
	if len(words) > 0 {
		switch words[0] {
		case "-add":
			e.How, words = AddItems, words[1:]
		case "-update":
			e.How, words = UpdateItems, words[1:]
		case "-delete":
			e.How, words = DeleteItems, words[1:]
			switch {
			case len(words) == 1 && words[0] == "-keys":
				e.How, words = DeleteAll, nil
			case len(words) > 0 && words[0] == "-key":
				words = words[1:]
			}
		}
	}
	if len(words) == 0 && e.How != DeleteAll {
		return e, fmt.Errorf("%s -modify: the value of %s is missing", program, clip(e.Attr))
	}
	return e.took(words)
}

func (e Edit) parseGroupLink(words []string) (Edit, error) {
	e.Action = ActLink
	if len(words) < 4 || len(words) > 5 {
		return e, fmt.Errorf("hagrp -link takes parent, child, category, location and, for online, soft, firm or hard")
	}
	e.Name, e.Child, e.Category, e.Location = words[0], words[1], words[2], words[3]
	if len(words) == 5 {
		e.Rigidity = words[4]
	}
	return e, nil
}

func (e Edit) parseResourceLink(option string, words []string) (Edit, error) {
	e.Action = ActLink
	if option == "-unlink" {
		e.Action = ActUnlink
	}
	if n := len(words); n == 4 && e.Action == ActLink && words[2] == "-min" {
		least, err := strconv.Atoi(words[3])
		if err != nil || least < 1 {
			return e, fmt.Errorf("-min takes a number from 1, not %s", clip(words[3]))
		}
		e.AtLeast, words = least, words[:2]
	}
	if len(words) != 2 {
		return e, fmt.Errorf("hares %s takes parent and child; or children with commas and -min N", option)
	}
	e.Name, e.Children = words[0], strings.Split(words[1], ",")
	return e, nil
}

func (e Edit) parseAttr(option string, words []string) (Edit, error) {
	actions := map[string]Action{"-add": ActAddAttr, "-default": ActDefault, "-delete": ActDeleteAttr}
	action, ok := actions[option]
	if !ok {
		return e, fmt.Errorf("unknown option %s of haattr%s", clip(option), didYouMean(option, keys(actions)))
	}
	e.Action = action
	for len(words) > 0 && action != ActDefault && (words[0] == "-static" || words[0] == "-temp") {
		e.Static, e.Temp = e.Static || words[0] == "-static", e.Temp || words[0] == "-temp"
		words = words[1:]
	}
	if len(words) < 2 {
		return e, fmt.Errorf("haattr %s takes a type and an attribute", option)
	}
	e.Name, e.Attr, words = words[0], words[1], words[2:]
	switch {
	case action == ActDeleteAttr && len(words) > 0:
		return e, fmt.Errorf("unexpected %s after haattr -delete", clip(words[0]))
	case action == ActAddAttr:
		for len(words) > 0 && e.declared(words[0]) {
			words = words[1:]
		}
		e.Explicit = len(words) > 0
	}
	return e.took(words)
}

// declared takes one option of haattr -add.
func (e *Edit) declared(option string) bool {
	switch option {
	case "-string":
		e.Kind = KindStr
	case "-i18nstr":
		e.Kind, e.I18n = KindStr, true
	case "-integer":
		e.Kind = KindInt
	case "-boolean":
		e.Kind = KindBool
	case "-float":
		e.Kind = KindFloat
	case "-scalar":
		e.Dim = DimScalar
	case "-vector":
		e.Dim = DimVector
	case "-keylist":
		e.Dim = DimKeylist
	case "-assoc", "-association":
		e.Dim = DimAssoc
	default:
		return false
	}
	return true
}
