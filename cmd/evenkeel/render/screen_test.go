package render

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// screen is a terminal of a fixed size, as far as a live renderer uses one. A line that is longer than it
// is wide is wrapped; what scrolls off its top is kept.
type screen struct {
	width, height int
	rows          [][]rune // of the screen
	scrolled      []string
	row, col      int
	unknown       []string // escape sequences that it doesn't know
}

func newScreen(width, height int) *screen {
	s := &screen{width: width, height: height, rows: make([][]rune, height)}
	return s
}

func (s *screen) Write(b []byte) (int, error) {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		switch r {
		case '\n':
			s.feed()
		case '\r':
			s.col = 0
		case 0x1b:
			end := i + 1
			for end++; b[end] < '@'; end++ {
			}
			s.escape(string(b[i+2 : end+1]))
			i = end + 1
			continue
		default:
			s.put(r)
		}
		i += size
	}
	return len(b), nil
}

func (s *screen) put(r rune) {
	if s.col+columns(r) > s.width {
		s.col = 0
		s.feed()
	}
	line := s.rows[s.row]
	for len(line) <= s.col {
		line = append(line, ' ')
	}
	line[s.col] = r
	s.rows[s.row] = line
	s.col += columns(r)
}

func (s *screen) feed() {
	if s.row < s.height-1 {
		s.row++
		return
	}
	s.scrolled = append(s.scrolled, string(s.rows[0]))
	s.rows = append(s.rows[1:], nil)
}

func (s *screen) escape(sequence string) {
	n, _ := strconv.Atoi(sequence[:len(sequence)-1])
	switch {
	case strings.HasSuffix(sequence, "A"):
		s.row = max(0, s.row-max(1, n))
	case sequence == "J":
		s.rows[s.row] = s.rows[s.row][:min(s.col, len(s.rows[s.row]))]
		for i := s.row + 1; i < s.height; i++ {
			s.rows[i] = nil
		}
	case strings.HasSuffix(sequence, "m"):
	default:
		s.unknown = append(s.unknown, sequence)
	}
}

// resize makes the screen narrower or wider as terminals do that wrap lines anew.
func (s *screen) resize(width int) {
	all := append(append([]string{}, s.scrolled...), s.text()...)
	*s = *newScreen(width, s.height)
	for _, line := range all {
		_, _ = s.Write([]byte(strings.TrimRight(line, " ") + "\r\n"))
	}
}

// text is what is on the screen, down to the last line that isn't empty.
func (s *screen) text() []string {
	var out []string
	for _, r := range s.rows {
		out = append(out, strings.TrimRight(string(r), " "))
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// all is what is on the screen and what scrolled off it.
func (s *screen) all() string {
	return strings.Join(append(append([]string{}, s.scrolled...), s.text()...), "\n")
}
