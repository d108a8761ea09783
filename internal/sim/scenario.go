package sim

// Scenario is what happens and when, as an administrator wrote it.
type Scenario struct{}

// ScenarioHelp tells the format.
const ScenarioHelp = ``

// ParseScenario reads one.
func ParseScenario(name, text string) (*Scenario, error) { return &Scenario{}, nil }

func (w *World) play(*Scenario) {}
