package maincf

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// tokenKind classifies a token.
type tokenKind uint8

const (
	tokEOF    tokenKind = iota
	tokWord             // letter, then letters, digits, - and _
	tokNumber           // optional -, digits
	tokFloat            // optional -, digits, a dot, digits
	tokString           // in double quotes; text is what stands between them
	tokPunct            // one of ( ) { } = , ; @ [ ]
)

// token is one word of the language. line and col are its first character,
// endLine the line of its last.
type token struct {
	kind tokenKind
	text string
	line int
	col  int
}

func (t token) is(punct string) bool { return t.kind == tokPunct && t.text == punct }
func (t token) word(w string) bool   { return t.kind == tokWord && t.text == w }

// name says whether the token can be a name.
func (t token) name() bool { return t.kind == tokWord || t.kind == tokString }

// scalar says whether the token can be a value.
func (t token) scalar() bool {
	return t.kind == tokWord || t.kind == tokString || t.kind == tokNumber || t.kind == tokFloat
}

// String describes the token in a message.
func (t token) String() string {
	switch t.kind {
	case tokEOF:
		return "the end of the file"
	case tokString:
		return `"` + clip(t.text) + `"`
	default:
		return clip(t.text)
	}
}

// clip keeps hostile text out of messages: at most 40 characters.
func clip(s string) string {
	const most = 40
	n := 0
	for i := range s {
		if n == most {
			return s[:i] + "..."
		}
		n++
	}
	return s
}

// lexer cuts one file into tokens. It never fails: a mistake is reported and
// the text taken for what it was most likely meant to be.
type lexer struct {
	src       string
	file      string
	pos       int
	line, col int
	tokens    []token
	report    func(Pos, string)
}

// lex returns the tokens of a file; the last is tokEOF.
func lex(file, src string, report func(Pos, string)) []token {
	l := &lexer{src: strings.TrimPrefix(src, "\ufeff"), file: file, line: 1, col: 1, report: report}
	for l.pos < len(l.src) {
		l.next()
	}
	l.add(tokEOF, "", l.line, l.col)
	return l.tokens
}

func (l *lexer) add(k tokenKind, text string, line, col int) {
	l.tokens = append(l.tokens, token{k, text, line, col})
}

func (l *lexer) fail(line, col int, format string, args ...any) {
	l.report(Pos{l.file, line, col}, fmt.Sprintf(format, args...))
}

// peek returns the next character and its length in bytes.
func (l *lexer) peek() (rune, int) { return utf8.DecodeRuneInString(l.src[l.pos:]) }

// step consumes the next character.
func (l *lexer) step() {
	r, n := l.peek()
	l.pos += n
	if r == '\n' {
		l.line++
		l.col = 1
		return
	}
	l.col++
}

func (l *lexer) next() {
	r, n := l.peek()
	line, col := l.line, l.col
	switch {
	case r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '\f' || r == '\v':
		l.step()
	case strings.HasPrefix(l.src[l.pos:], "//"):
		l.comment()
	case strings.HasPrefix(l.src[l.pos:], "/*") || r == '#':
		l.foreignComment()
	case strings.IndexByte("(){}=,;@[]", l.src[l.pos]) >= 0:
		l.add(tokPunct, l.src[l.pos:l.pos+1], line, col)
		l.step()
	case r == '"':
		l.quoted()
	case isTypographicQuote(r):
		l.typographic(r)
	case r == '\'':
		l.apostrophes()
	case r == '\u00a0' || r == '\u202f' || r == '\u2007' || r == '\u200b' || r == '\ufeff':
		l.fail(line, col, "an invisible or no-break blank (%U), probably pasted from a web page: replace it by a plain blank", r)
		l.step()
	case r == utf8.RuneError && n <= 1:
		l.fail(line, col, "byte 0x%02x is not UTF-8 text", l.src[l.pos])
		l.step()
	case r < ' ' || r == 0x7f:
		l.fail(line, col, "control character %U", r)
		l.step()
	default:
		l.bare()
	}
}

func (l *lexer) comment() {
	for l.pos < len(l.src) && l.src[l.pos] != '\n' {
		l.step()
	}
}

// foreignComment passes over a comment as other languages have them.
func (l *lexer) foreignComment() {
	l.fail(l.line, l.col, "a comment begins with // and ends with its line")
	if l.src[l.pos] == '#' {
		l.comment()
		return
	}
	end := strings.Index(l.src[l.pos:], "*/")
	if end < 0 {
		l.comment()
		return
	}
	for end += l.pos + len("*/"); l.pos < end; {
		l.step()
	}
}

// quoted reads "...": \" is a quote, \\ a backslash, any other backslash
// stands for itself. A string ends on its line.
func (l *lexer) quoted() {
	line, col := l.line, l.col
	l.step()
	var b strings.Builder
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		switch {
		case c == '"':
			l.step()
			l.add(tokString, b.String(), line, col)
			return
		case c == '\n':
			l.unterminated(b.String(), line, col)
			return
		case c == '\\' && l.pos+1 < len(l.src) && (l.src[l.pos+1] == '"' || l.src[l.pos+1] == '\\'):
			b.WriteByte(l.src[l.pos+1])
			l.step()
			l.step()
		default:
			r, n := l.peek()
			switch {
			case r == utf8.RuneError && n <= 1:
				l.fail(l.line, l.col, "byte 0x%02x is not UTF-8 text", c)
			case (r < ' ' && r != '\t' && r != '\r') || r == 0x7f:
				l.fail(l.line, l.col, "control character %U in a string", r)
			}
			b.WriteString(l.src[l.pos : l.pos+n])
			l.step()
		}
	}
	l.unterminated(b.String(), line, col)
}

func (l *lexer) unterminated(text string, line, col int) {
	l.fail(line, col, `unterminated string: the closing " is missing on this line`)
	l.add(tokString, strings.TrimRight(text, " \t\r"), line, col)
}

func isTypographicQuote(r rune) bool {
	return strings.ContainsRune("“”„‟″«»‘’‚‛′", r)
}

// typographic reads a string whose quotes a web page or a word processor has
// prettified.
func (l *lexer) typographic(open rune) {
	line, col := l.line, l.col
	l.step()
	start := l.pos
	for l.pos < len(l.src) {
		r, _ := l.peek()
		if r == '\n' || r == '"' || isTypographicQuote(r) {
			break
		}
		l.step()
	}
	text := l.src[start:l.pos]
	if l.pos < len(l.src) && l.src[l.pos] != '\n' {
		l.step()
	}
	l.fail(line, col, `typographic quote %c (%U), probably pasted from a web page: replace it by a plain ", as in %s`,
		open, open, quote(clip(strings.TrimRight(text, "\r"))))
	l.add(tokString, strings.TrimRight(text, "\r"), line, col)
}

// apostrophes reads a string in single quotes, as other languages have them.
func (l *lexer) apostrophes() {
	line, col := l.line, l.col
	l.step()
	start := l.pos
	for l.pos < len(l.src) && l.src[l.pos] != '\n' && l.src[l.pos] != '\'' {
		l.step()
	}
	text := strings.TrimRight(l.src[start:l.pos], "\r")
	if l.pos < len(l.src) && l.src[l.pos] == '\'' {
		l.step()
	}
	l.fail(line, col, "single quotes do not make a string here: write %s", quote(clip(text)))
	l.add(tokString, text, line, col)
}

// bare reads a run of characters that stands without quotes.
func (l *lexer) bare() {
	line, col, start := l.line, l.col, l.pos
	for l.pos < len(l.src) {
		r, n := l.peek()
		if r <= ' ' || r == 0x7f || (r == utf8.RuneError && n <= 1) || strings.ContainsRune("(){}=,;@[]\"\u00a0", r) ||
			isTypographicQuote(r) || strings.HasPrefix(l.src[l.pos:], "//") {
			break
		}
		l.step()
	}
	text := l.src[start:l.pos]
	switch {
	case isWord(text):
		l.add(tokWord, text, line, col)
	case isNumber(text):
		l.add(tokNumber, text, line, col)
	case isFloat(text):
		l.add(tokFloat, text, line, col)
	default:
		l.fail(line, col, "%s needs double quotes: only a word of letters, digits, - and _ that starts with a letter, or a number, may stand without",
			clip(text))
		l.add(tokString, text, line, col)
	}
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

// isWord is the rule for strings without quotes.
func isWord(s string) bool {
	if s == "" || !isLetter(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if !isLetter(s[i]) && !isDigit(s[i]) && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return true
}

func isNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

func isFloat(s string) bool {
	whole, frac, dot := strings.Cut(s, ".")
	return dot && isNumber(whole) && isNumber(frac) && frac[0] != '-'
}
