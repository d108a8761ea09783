package policy

import "slices"

// Every is the policy of a group that may be online everywhere: each system
// that is able to take it is chosen.
const Every = "Every"

// Asked is what a Verdict was given on: the question with this candidate. It
// is kept with the verdict, so that Again can ask once more.
type Asked struct {
	Policy string `json:"policy"`
	// Prefer is the system that was asked for: it is taken if it will do.
	Prefer string `json:"prefer,omitempty"`
	// First begins a question; the verdicts behind it belong to the same one.
	First     bool      `json:"first,omitempty"`
	Candidate Candidate `json:"candidate"`
}

// asked hangs the question on its answers.
func asked(policy, prefer string, candidates []Candidate, verdicts []Verdict) {
	for i := range verdicts {
		verdicts[i].Asked = &Asked{Policy: policy, Prefer: prefer, First: i == 0, Candidate: candidates[i]}
	}
}

// TargetPreferring is Target with a system that somebody asked for.
func TargetPreferring(policy, want string, candidates []Candidate) (string, []Verdict) {
	target, verdicts := Target(policy, candidates)
	able := slices.ContainsFunc(candidates, func(c Candidate) bool { return c.System == want && c.Refusal() == "" })
	if !able || target == want {
		return target, verdicts
	}
	for i := range verdicts {
		verdicts[i].Asked.Prefer = want
		switch verdicts[i].System {
		case want:
			verdicts[i].Chosen, verdicts[i].Reason = true, "the system that was asked for"
		case target:
			verdicts[i].Chosen, verdicts[i].Reason = false, "not the system that was asked for"
		}
	}
	return want, verdicts
}

// Targets chooses every system that is able to take the group.
func Targets(candidates []Candidate) (targets []string, verdicts []Verdict) {
	for _, c := range candidates {
		v := Verdict{System: c.System, Reason: c.Refusal()}
		if v.Reason == "" {
			v.Chosen, v.Reason = true, "able to take it"
			targets = append(targets, c.System)
		}
		verdicts = append(verdicts, v)
	}
	asked(Every, "", candidates, verdicts)
	return targets, verdicts
}

// Again decides once more what was asked: the verdicts are those that were
// kept with the questions, or something has changed the rules or the record.
func Again(questions []Asked) []Verdict {
	var out []Verdict
	for len(questions) > 0 {
		n := 1
		for n < len(questions) && !questions[n].First {
			n++
		}
		var candidates []Candidate
		for _, q := range questions[:n] {
			candidates = append(candidates, q.Candidate)
		}
		var verdicts []Verdict
		switch q := questions[0]; {
		case q.Policy == Every:
			_, verdicts = Targets(candidates)
		case q.Prefer != "":
			_, verdicts = TargetPreferring(q.Policy, q.Prefer, candidates)
		default:
			_, verdicts = Target(q.Policy, candidates)
		}
		out = append(out, verdicts...)
		questions = questions[n:]
	}
	return out
}
