package strict

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/jsonschema"
)

// DecodeConnectorRequest reads a line that a connector was sent. The error tells where the line is wrong, and holds
// no value of it.
func DecodeConnectorRequest(line []byte) (*schemas.ConnectorRequest, error) {
	var r schemas.ConnectorRequest
	if err := decodeConnectorLine("connector-request", line, &r); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	return &r, nil
}

// DecodeConnectorAnswer reads a line that a connector has written. The error tells where the line is wrong, and
// holds no value of it.
func DecodeConnectorAnswer(line []byte) (*schemas.ConnectorAnswer, error) {
	var a schemas.ConnectorAnswer
	if err := decodeConnectorLine("connector-answer", line, &a); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return &a, nil
}

// protocolSchemas compiles the schemas of the two messages at the first use.
var protocolSchemas = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	return jsonschema.Published("connector-request", "connector-answer")
})

// maxFaults bounds how many faults of a line an error names.
const maxFaults = 3

func decodeConnectorLine(message string, line []byte, into any) error {
	set, err := protocolSchemas()
	if err != nil {
		return err
	}
	if !utf8.Valid(line) {
		return errors.New("the line is not UTF-8")
	}
	if halfSurrogate(line) {
		return errors.New("the line has half of a surrogate pair, which would make one name of two")
	}
	instance, err := jsonschema.Value(line)
	if err != nil {
		return errors.New("the line is not one JSON value")
	}
	if list := set[message].Findings(instance); len(list) > 0 {
		var faults []string
		for _, f := range list {
			faults = append(faults, strings.TrimPrefix(strings.Join(plainSteps(f), ".")+" ", " ")+f.Msg)
		}
		slices.Sort(faults)
		if n := len(faults); n > maxFaults {
			faults = append(faults[:maxFaults], fmt.Sprintf("and %d more", n-maxFaults))
		}
		return errors.New(strings.Join(faults, "; "))
	}
	if err := json.Unmarshal(line, into); err != nil {
		return errors.New("the line has a number that does not fit")
	}
	return nil
}

// halfSurrogate reports whether an escape of UTF-16 lacks its other half: encoding/json would read each as
// the same character.
func halfSurrogate(line []byte) bool {
	unit := func(i int) (rune, bool) {
		if i+6 > len(line) || line[i] != '\\' || line[i+1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(string(line[i+2:i+6]), 16, 16)
		return rune(n), err == nil
	}
	for i := 0; i < len(line); i++ {
		if line[i] != '\\' {
			continue
		}
		r, ok := unit(i)
		switch {
		case !ok:
			i++ // the escaped character, perhaps another backslash
		case utf16.IsSurrogate(r):
			low, _ := unit(i + 6)
			if utf16.DecodeRune(r, low) == unicode.ReplacementChar {
				return true
			}
			i += 11
		default:
			i += 5
		}
	}
	return false
}

// plainSteps is the way to a fault without what a connector may have put into keys.
func plainSteps(f jsonschema.Finding) []string {
	var steps []string
	for _, s := range f.Way {
		if len(s) > 40 || strings.ContainsFunc(s, func(r rune) bool { return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') }) {
			s = "…"
		}
		steps = append(steps, s)
	}
	return steps
}
