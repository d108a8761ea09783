package engine

func emit(string) {}
func f(m map[string]int) {
	for k := range m {
		emit(k)
	}
}
