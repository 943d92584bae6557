package aws

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDocumentsThatMeanTheSame(t *testing.T) {
	t.Parallel()
	const permission = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":"*"}]}`
	const account = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"sts:AssumeRole"}]}`
	const everybody = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}`
	const condition = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"},"NumericLessThan":{"aws:MultiFactorAuthAge":"3600"}}}]}`
	for _, c := range []struct {
		name string
		k    kind
		a, b string
		same bool
	}{
		{"order of keys", permissions, permission, `{"Statement":[{"Resource":"*","Action":["s3:Get*","s3:List*"],"Effect":"Allow"}],"Version":"2012-10-17"}`, true},
		{"order of a list", permissions, permission, strings.Replace(permission, `"s3:Get*","s3:List*"`, `"s3:List*","s3:Get*"`, 1), true},
		{"twice in a list", permissions, permission, strings.Replace(permission, `"s3:Get*",`, `"s3:Get*","s3:Get*",`, 1), true},
		{"a list of one", permissions, permission, strings.Replace(permission, `"Resource":"*"`, `"Resource":["*"]`, 1), true},
		{"one statement", permissions, permission, strings.NewReplacer(`[{`, `{`, `}]`, `}`).Replace(permission), true},
		{"an empty Sid", permissions, permission, strings.Replace(permission, `{"Effect"`, `{"Sid":"","Condition":{},"Effect"`, 1), true},
		{"a Sid", permissions, permission, strings.Replace(permission, `{"Effect"`, `{"Sid":"a","Effect"`, 1), false},
		{"white space", permissions, permission, strings.ReplaceAll(permission, ",", " ,\n\t"), true},
		{"an escaped letter", permissions, permission, strings.Replace(permission, "s3:Get*", `s3:\u0047et*`, 1), true},
		{"no version", permissions, strings.Replace(permission, "2012-10-17", "2008-10-17", 1), strings.Replace(permission, `"Version":"2012-10-17",`, "", 1), true},
		{"another version", permissions, permission, strings.Replace(permission, "2012-10-17", "2008-10-17", 1), false},
		{"another effect", permissions, permission, strings.Replace(permission, "Allow", "Deny", 1), false},
		{"all but these", permissions, permission, strings.Replace(permission, `"Action"`, `"NotAction"`, 1), false},
		{"less", permissions, permission, strings.Replace(permission, `,"s3:List*"`, "", 1), false},
		{"a statement twice", permissions, permission, strings.Replace(permission, `"Resource":"*"}`, `"Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"*"}`, 1), false},
		{"an account", trust, account, strings.Replace(account, "arn:aws:iam::123456789012:root", "123456789012", 1), true},
		{"an account in a list", trust, account, strings.Replace(account, `"arn:aws:iam::123456789012:root"`, `["123456789012","arn:aws:iam::123456789012:root"]`, 1), true},
		{"another account", trust, account, strings.Replace(account, "123456789012", "210987654321", 1), false},
		{"everybody", trust, everybody, strings.Replace(everybody, `{"AWS":"*"}`, `"*"`, 1), true},
		{"a truth value", permissions, condition, strings.Replace(condition, `"true"`, `true`, 1), true},
		{"a number", permissions, condition, strings.Replace(condition, `"3600"`, `[3600]`, 1), true},
		{"another number", permissions, condition, strings.Replace(condition, `"3600"`, `360`, 1), false},
		{"without the condition", permissions, condition, strings.Replace(condition, `"NumericLessThan"`, `"NumericLessThanIfExists"`, 1), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x, err := parseDocument(c.a, c.k, "aws")
			if err != nil {
				t.Fatal(err)
			}
			// As an object, as text, and as IAM gives it back.
			var object map[string]any
			if err := json.Unmarshal([]byte(c.b), &object); err != nil {
				t.Fatal(err)
			}
			for how, v := range map[string]any{"text": c.b, "object": object} {
				y, err := parseDocument(v, c.k, "aws")
				if err != nil {
					t.Fatalf("%s: %v", how, err)
				}
				if same := cmp.Equal(x, y); same != c.same {
					t.Errorf("%s: the same is %v, want %v: %v %v", how, same, c.same, x, y)
				}
				encoded := strings.ReplaceAll(url.QueryEscape(c.b), "+", "%20")
				if read := readDocument(encoded, c.k, "aws"); !cmp.Equal(any(y), read) {
					t.Errorf("read back: %v, want %v", read, y)
				}
			}
		})
	}
}

func TestDocumentsThatAreRefused(t *testing.T) {
	t.Parallel()
	const good = `"Effect":"Allow","Action":"*","Resource":"*"`
	for _, c := range []struct {
		name string
		k    kind
		doc  any
		want string
	}{
		{"no JSON", permissions, "{", "invalid JSON"},
		{"a list", permissions, "[]", "expected a JSON object"},
		{"more behind", permissions, `{"Statement":{` + good + `}} x`, "extra text"},
		{"a number", permissions, 7, "expected a JSON object"},
		{"no statement", permissions, `{"Version":"2012-10-17"}`, "the Statement is required"},
		{"an empty list", permissions, `{"Statement":[]}`, "the Statement is required"},
		{"a statement that is none", permissions, `{"Statement":["x"]}`, "statement 1: invalid (expected an object)"},
		{"another version", permissions, `{"Version":"2024-01-01","Statement":{` + good + `}}`, "Version"},
		{"an unknown element", permissions, `{"Statements":{` + good + `}}`, "Statements"},
		{"an unknown element in a statement", permissions, `{"Statement":{` + good + `,"Actions":"x"}}`, "Actions"},
		{"wrong case", permissions, `{"Statement":{"effect":"Allow","Action":"*","Resource":"*"}}`, "effect"},
		{"a key twice", permissions, `{"Statement":{` + good + `,"Action":"s3:Get*"}}`, "duplicate key"},
		{"a key twice, escaped", permissions, `{"Statement":{` + good + `,"\u0041ction":"s3:Get*"}}`, "duplicate key"},
		{"neither allow nor deny", permissions, `{"Statement":{"Effect":"allow","Action":"*","Resource":"*"}}`, "Effect"},
		{"no effect", permissions, `{"Statement":{"Action":"*","Resource":"*"}}`, "Effect"},
		{"both actions", permissions, `{"Statement":{` + good + `,"NotAction":"x"}}`, "exactly one of Action"},
		{"no resource", permissions, `{"Statement":{"Effect":"Allow","Action":"*"}}`, "exactly one of Resource"},
		{"an empty list of actions", permissions, `{"Statement":{"Effect":"Allow","Action":[],"Resource":"*"}}`, "empty"},
		{"a number as action", permissions, `{"Statement":{"Effect":"Allow","Action":[1],"Resource":"*"}}`, "list of strings"},
		{"a principal", permissions, `{"Statement":{` + good + `,"Principal":"*"}}`, "Principal"},
		{"a resource in trust", trust, `{"Statement":{` + good + `,"Principal":"*"}}`, "Resource"},
		{"no principal in trust", trust, `{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole"}}`, "exactly one of Principal"},
		{"an unknown principal", trust, `{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Aws":"*"}}}`, "Aws"},
		{"a condition that is none", permissions, `{"Statement":{` + good + `,"Condition":"x"}}`, "Condition"},
		{"an object in a condition", permissions, `{"Statement":{` + good + `,"Condition":{"Bool":{"k":{}}}}}`, "string, number or boolean"},
		{"not UTF-8", permissions, "{\"Statement\":{" + good + ",\"Sid\":\"\xff\"}}", "UTF-8"},
		{"too deep", permissions, strings.Repeat("[", 40), "deeply"},
		{"too long", permissions, strings.Repeat(" ", maxDocumentBytes+1), "bytes"},
	} {
		_, err := parseDocument(c.doc, c.k, "aws")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want a word of %q", c.name, err, c.want)
		}
	}
}

// A read never fails by what others wrote.
func TestDocumentsOfOthers(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]any{
		`{"Statement":{"Effect":"Allow","Future":"x"}}`: map[string]any{"Statement": map[string]any{"Effect": "Allow", "Future": "x"}},
		"no%20JSON": "no JSON",
		"100%":      "100%",
		"":          "",
	} {
		if diff := cmp.Diff(want, readDocument(raw, permissions, "aws")); diff != "" {
			t.Errorf("%q (-want +got):\n%s", raw, diff)
		}
	}
}

func TestEncodeDocumentIsASCII(t *testing.T) {
	t.Parallel()
	text, err := encodeDocument(map[string]any{"Sid": "é 名 😀 <&>"})
	if err != nil || text != `{"Sid":"\u00e9 \u540d \ud83d\ude00 <&>"}` {
		t.Errorf("got %s, %v", text, err)
	}
}

// FuzzDocument: whatever text there is, the canonical form is stable, and is what IAM would give back.
func FuzzDocument(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*"],"Resource":"*","Condition":{"Bool":{"a":true}}}]}`, false)
	f.Add(`{"Statement":{"Effect":"Deny","Principal":{"AWS":["123456789012","*"]},"NotAction":"sts:*"}}`, true)
	f.Add(`%7B%22Statement%22%3A%7B%7D%7D`, true)
	f.Add(`{"a":{"a":[1e400]}}`, false)
	f.Fuzz(func(t *testing.T, text string, isTrust bool) {
		k := permissions
		if isTrust {
			k = trust
		}
		readDocument(text, k, "aws")
		once, err := parseDocument(text, k, "aws")
		if err != nil {
			return
		}
		encoded, err := encodeDocument(once)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseDocument(encoded, k, "aws")
		if err != nil {
			t.Fatalf("the canonical form is refused: %v", err)
		}
		if diff := cmp.Diff(once, again); diff != "" {
			t.Fatalf("the canonical form is not stable (-once +twice):\n%s", diff)
		}
		if read := readDocument(url.PathEscape(encoded), k, "aws"); !cmp.Equal(read, any(once)) {
			t.Fatalf("read back: %v, want %v", read, once)
		}
	})
}
