//go:build linux

package passing

import "encoding/json"

// Text is a text of any bytes, such as a file's name or a program's argument. As a
// string of JSON it would lose those that aren't UTF-8.
type Text string

// MarshalJSON writes the bytes as JSON has them, in base64.
func (t Text) MarshalJSON() ([]byte, error) { return json.Marshal([]byte(t)) }

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Text) UnmarshalJSON(data []byte) error {
	var text []byte
	err := json.Unmarshal(data, &text)
	*t = Text(text)
	return err
}

// Texts makes texts of strings.
func Texts(from []string) []Text {
	texts := make([]Text, len(from))
	for i, s := range from {
		texts[i] = Text(s)
	}
	return texts
}

// Strings is the inverse of Texts.
func Strings(texts []Text) []string {
	from := make([]string, len(texts))
	for i, t := range texts {
		from[i] = string(t)
	}
	return from
}
