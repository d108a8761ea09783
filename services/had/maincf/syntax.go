package maincf

// The tree as written, before names and kinds are known. Positions are of
// the first character.

type rawScalar struct {
	kind tokenKind
	text string
	pos  Pos
}

// rawItem is one element of a list, with a value if "= value" follows.
type rawItem struct {
	key   rawScalar
	value *rawScalar
}

type rawValue struct {
	list   bool
	scalar rawScalar
	items  []rawItem
	pos    Pos
}

type rawAttr struct {
	name      string
	system    string
	pos       Pos
	systemPos Pos
	value     *rawValue // nil: the name alone
}

type rawName struct {
	text string
	pos  Pos
}

// rawObject is a cluster, remotecluster, heartbeat, system or resource.
type rawObject struct {
	keyword rawName // of a resource: its type
	name    rawName
	attrs   []rawAttr
}

type rawDependency struct {
	parent   rawName
	children []rawName
	atLeast  *rawScalar
}

type rawGroupDependency struct {
	child rawName
	words []rawName
	pos   Pos
}

type rawGroup struct {
	rawObject
	resources []*rawObject
	deps      []rawDependency
	requires  []rawGroupDependency
}

type rawDecl struct {
	static, temp, i18n bool
	kind               Kind
	dim                Dim
	name               rawName
	value              *rawValue
}

type rawType struct {
	name  rawName
	decls []rawDecl
}

// rawFile is everything read so far, over all files, in the order written.
type rawFile struct {
	includes []Include
	clusters []*rawObject
	remotes  []*rawObject
	beats    []*rawObject
	systems  []*rawObject
	groups   []*rawGroup
	types    []*rawType
	// missing: an include could not be read, so unknown types are no news.
	missing bool
	// unread: something could not be read, so a missing cluster is no news.
	unread bool
	// broken holds the clauses whose block has an attribute that could not be
	// read: what seems to be missing there may be on that line.
	broken map[Pos]bool
}
