package aws_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/connectors/connectortest"
)

// model is the vendor's own description of a service: it says which requests and answers are well-formed. It
// knows nothing of what the service does with them.
type model struct {
	Metadata   struct{ APIVersion, XMLNamespace string }
	Operations map[string]struct {
		Input, Output struct{ Shape, ResultWrapper string }
		Errors        []struct{ Shape string }
	}
	Shapes map[string]shape
}

type shape struct {
	Type       string
	Required   []string
	Members    map[string]ref
	Member     ref
	Min, Max   *float64
	Pattern    string
	Enum       []string
	Flattened  bool
	Key, Value ref
	Error      struct {
		Code           string
		HTTPStatusCode int
	}
	Exception, Fault bool

	re *regexp.Regexp
}

type ref struct{ Shape, LocationName string }

// object is a structure as the fake has it.
type object = map[string]any

var descriptions = sync.OnceValues(func() (map[string]*model, error) {
	cmd := exec.Command("go", "mod", "download", "-modfile=../../.ci/descriptions.mod", "-json", "github.com/aws/aws-sdk-go")
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("download the description of IAM: %w", err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return nil, err
	}
	models := map[string]*model{}
	for service, version := range map[string]string{"iam": "2010-05-08", "sts": "2011-06-15"} {
		b, err := os.ReadFile(filepath.Join(module.Dir, "models", "apis", service, version, "api-2.json"))
		if err != nil {
			return nil, err
		}
		m := &model{}
		if err := json.Unmarshal(b, m); err != nil {
			return nil, err
		}
		if len(m.Operations) == 0 || m.Metadata.APIVersion != version {
			return nil, fmt.Errorf("the description of %s has no operations, or is of another version", service)
		}
		for name, s := range m.Shapes {
			if s.Pattern == "" {
				continue
			}
			// One or two patterns look ahead, which Go's do not; whoever uses such a shape is told.
			s.re, _ = regexp.Compile(`\A(?:` + unicodeEscape.ReplaceAllString(s.Pattern, `\x{$1}`) + `)\z`)
			m.Shapes[name] = s
		}
		models[service] = m
	}
	return models, nil
})

func loadModels(t connectortest.TB) map[string]*model {
	t.Helper()
	m, err := descriptions()
	if err != nil {
		t.Fatalf("%v: run .ci/test, which fetches what the tests need", err)
	}
	return m
}

// parse takes the parameters of the query protocol that belong to a shape, and says what of them is malformed.
// What it took is deleted from the form.
func (m *model) parse(name string, form url.Values, prefix string) (v any, there bool, faults []string) {
	s := m.Shapes[name]
	take := func() (string, bool) {
		list, ok := form[prefix]
		delete(form, prefix)
		if len(list) > 1 {
			faults = append(faults, prefix+" stands twice")
		}
		return strings.Join(list, ""), ok
	}
	under := func(p string) bool {
		for k := range form {
			if k == p || strings.HasPrefix(k, p+".") {
				return true
			}
		}
		return false
	}
	switch s.Type {
	case "structure":
		out := object{}
		for _, member := range sortedKeys(s.Members) {
			p := member
			if prefix != "" {
				p = prefix + "." + member
			}
			if !under(p) {
				continue
			}
			v, ok, more := m.parse(s.Members[member].Shape, form, p)
			faults = append(faults, more...)
			if ok {
				out[member] = v
			}
		}
		return out, true, faults
	case "list":
		var out []any
		for i := 1; under(fmt.Sprintf("%s.member.%d", prefix, i)); i++ {
			v, _, more := m.parse(s.Member.Shape, form, fmt.Sprintf("%s.member.%d", prefix, i))
			faults = append(faults, more...)
			out = append(out, v)
		}
		if _, empty := form[prefix]; empty && len(out) == 0 {
			take() // an empty list is the bare name
			return out, true, faults
		}
		return out, len(out) > 0, faults
	case "integer":
		text, ok := take()
		n, err := strconv.Atoi(text)
		if ok && err != nil {
			faults = append(faults, prefix+" is no number")
		}
		return n, ok, faults
	case "boolean":
		text, ok := take()
		if ok && text != "true" && text != "false" {
			faults = append(faults, prefix+" is neither true nor false")
		}
		return text == "true", ok, faults
	case "string":
		text, ok := take()
		return text, ok, faults
	}
	return nil, false, append(faults, prefix+" has the type "+s.Type+", which no request here should need")
}

var unicodeEscape = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)

// faults says where a value does not fit its shape.
func (m *model) faults(name string, v any, at string) []string {
	s, ok := m.Shapes[name]
	if !ok {
		return []string{at + ": the description has no shape " + name}
	}
	var out []string
	fault := func(format string, args ...any) { out = append(out, at+": "+fmt.Sprintf(format, args...)) }
	bounds := func(n int) {
		if s.Min != nil && float64(n) < *s.Min || s.Max != nil && float64(n) > *s.Max {
			fault("%d is out of bounds", n)
		}
	}
	switch s.Type {
	case "structure":
		o, ok := v.(object)
		if !ok {
			fault("%T is no structure", v)
			return out
		}
		for _, r := range s.Required {
			if _, ok := o[r]; !ok {
				fault("%s is missing", r)
			}
		}
		for _, k := range sortedKeys(o) {
			member, ok := s.Members[k]
			if !ok {
				fault("there is no member %s", k)
				continue
			}
			out = append(out, m.faults(member.Shape, o[k], at+"."+k)...)
		}
	case "list":
		list, ok := v.([]any)
		if !ok {
			fault("%T is no list", v)
			return out
		}
		bounds(len(list))
		for i, item := range list {
			out = append(out, m.faults(s.Member.Shape, item, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case "string":
		text, ok := v.(string)
		if !ok {
			fault("%T is no string", v)
			return out
		}
		bounds(utf8.RuneCountInString(text))
		if len(s.Enum) > 0 && !slices.Contains(s.Enum, text) {
			fault("%q is none of %v", text, s.Enum)
		}
		if s.Pattern != "" {
			if s.re == nil {
				fault("the pattern %s cannot be checked", s.Pattern)
			} else if !s.re.MatchString(text) {
				fault("%.80q does not fit %s", text, s.Pattern)
			}
		}
	case "integer":
		n, ok := v.(int)
		if !ok {
			fault("%T is no integer", v)
			return out
		}
		bounds(n)
	case "boolean":
		if _, ok := v.(bool); !ok {
			fault("%T is no boolean", v)
		}
	case "timestamp":
		if _, ok := v.(time.Time); !ok {
			fault("%T is no timestamp", v)
		}
	default:
		fault("the type %s is not known here", s.Type)
	}
	return out
}

// encode writes a value of a shape as an element.
func (m *model) encode(buf *bytes.Buffer, name, element string, v any) {
	buf.WriteString("<" + element + ">")
	switch v := v.(type) {
	case object:
		for _, k := range sortedKeys(v) {
			m.encode(buf, m.Shapes[name].Members[k].Shape, k, v[k])
		}
	case []any:
		for _, item := range v {
			m.encode(buf, m.Shapes[name].Member.Shape, "member", item)
		}
	case time.Time:
		buf.WriteString(v.UTC().Format("2006-01-02T15:04:05Z"))
	default:
		_ = xml.EscapeText(buf, fmt.Append(nil, v)) // a buffer takes everything
	}
	buf.WriteString("</" + element + ">")
}

// answer is the whole answer to an action.
func (m *model) answer(action string, out object) []byte {
	var buf bytes.Buffer
	fmt.Fprintf(&buf, `<%sResponse xmlns="%s">`, action, m.Metadata.XMLNamespace)
	if o := m.Operations[action].Output; o.Shape != "" {
		m.encode(&buf, o.Shape, o.ResultWrapper, out)
	}
	fmt.Fprintf(&buf, `<ResponseMetadata><RequestId>7a62c49f-347e-4fc4-9331-6e8eEXAMPLE</RequestId></ResponseMetadata></%sResponse>`, action)
	return buf.Bytes()
}

// The validator is worth something only if it refuses.
func TestModelRefuses(t *testing.T) {
	t.Parallel()
	m := loadModels(t)["iam"]
	for _, c := range []struct {
		name, action, query string
		want                string
	}{
		{"good", "CreateRole", "RoleName=r&AssumeRolePolicyDocument=%7B%7D&MaxSessionDuration=3600&Tags.member.1.Key=k&Tags.member.1.Value=", ""},
		{"nothing", "CreateRole", "", "missing"},
		{"too long", "CreateRole", "RoleName=" + strings.Repeat("r", 65) + "&AssumeRolePolicyDocument=%7B%7D", "out of bounds"},
		{"pattern", "CreateRole", "RoleName=a%20b&AssumeRolePolicyDocument=%7B%7D", "does not fit"},
		{"beyond Latin-1", "CreateRole", "RoleName=r&AssumeRolePolicyDocument=%E5%90%8D", "does not fit"},
		{"number", "CreateRole", "RoleName=r&AssumeRolePolicyDocument=%7B%7D&MaxSessionDuration=1", "out of bounds"},
		{"no number", "CreateRole", "RoleName=r&AssumeRolePolicyDocument=%7B%7D&MaxSessionDuration=x", "no number"},
		{"half a tag", "CreateRole", "RoleName=r&AssumeRolePolicyDocument=%7B%7D&Tags.member.1.Key=k", "missing"},
		{"enum", "GetAccountAuthorizationDetails", "Filter.member.1=Everything", "none of"},
		{"unknown", "CreateRole", "RoleName=r&AssumeRolePolicyDocument=%7B%7D&Rolename=r", "Rolename"},
	} {
		form, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		in := m.Operations[c.action].Input.Shape
		v, _, faults := m.parse(in, form, "")
		faults = append(faults, m.faults(in, v, c.action)...)
		faults = append(faults, sortedKeys(form)...)
		if got := strings.Join(faults, "; "); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func jsonObject(text string) bool {
	var v map[string]any
	return json.Unmarshal([]byte(text), &v) == nil
}
