package spec

import (
	"errors"
	"strings"
)

// splitWords splits a command that is written as one text, as Compose does: at blanks, with quotes and
// backslashes as in a shell, and without anything else that a shell does.
func splitWords(text string) ([]string, error) {
	words := []string{}
	var word strings.Builder
	inWord := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case ' ', '\t', '\n', '\r':
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		case '\'':
			end := strings.IndexByte(text[i+1:], '\'')
			if end < 0 {
				return nil, errors.New("a single quote is opened and never closed")
			}
			word.WriteString(text[i+1 : i+1+end])
			i += end + 1
			inWord = true
		case '"':
			end, err := doubleQuoted(text[i+1:], &word)
			if err != nil {
				return nil, err
			}
			i += end
			inWord = true
		case '\\':
			if i++; i == len(text) {
				return nil, errors.New("ends with a backslash")
			}
			word.WriteByte(text[i])
			inWord = true
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// doubleQuoted copies what is in double quotes and returns how many bytes it took, the closing quote
// included. A backslash counts only before what it can escape.
func doubleQuoted(text string, word *strings.Builder) (int, error) {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return i + 1, nil
		case text[i] == '\\' && i+1 < len(text) && strings.IndexByte("\"\\$`", text[i+1]) >= 0:
			i++
		}
		word.WriteByte(text[i])
	}
	return 0, errors.New("a double quote is opened and never closed")
}
