package policy

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"

	"github.com/countersign/countersign/schemas"
)

//go:embed library/*.rego
var libraryFS embed.FS

const (
	rootPackage    = "countersign"
	libraryPackage = "countersign.library"
	libPackage     = "countersign.lib"
	libFile        = "library/lib.rego"
)

// ruleSets returns the names of the sets that rules add to.
func ruleSets() []string { return []string{"deny", "require_signoff", "warn"} }

type sourceFile struct {
	path    string
	content []byte
}

// libraryFiles returns the embedded files including tests, sorted by path.
func libraryFiles() ([]sourceFile, error) {
	paths, err := fs.Glob(libraryFS, "library/*.rego")
	if err != nil {
		return nil, err
	}
	var files []sourceFile
	for _, p := range paths {
		content, err := libraryFS.ReadFile(p)
		if err != nil {
			return nil, err
		}
		files = append(files, sourceFile{p, content})
	}
	return files, nil
}

// parseLibrary parses the embedded files, with tests if asked for.
func parseLibrary(caps *ast.Capabilities, tests, annotations bool) (map[string]*ast.Module, error) {
	files, err := libraryFiles()
	if err != nil {
		return nil, err
	}
	modules := map[string]*ast.Module{}
	for _, f := range files {
		if isTest(f.path) && !tests {
			continue
		}
		m, err := ast.ParseModuleWithOpts(f.path, string(f.content), ast.ParserOptions{
			RegoVersion: ast.RegoV1, Capabilities: caps, ProcessAnnotation: annotations,
		})
		if err != nil {
			return nil, err
		}
		modules[f.path] = m
	}
	return modules, nil
}

// compiledLibrary is the compiled library without data. It is immutable.
type compiledLibrary struct {
	program  program
	rules    int
	manifest ast.Value
}

// compileLibrary compiles the library and compares it with its manifest, once: a run creates an engine for each base,
// and the library is the same in all of them.
var compileLibrary = sync.OnceValues(func() (*compiledLibrary, error) {
	p, rules, manifest, err := compileLibraryOf(capabilities())
	if err != nil {
		return nil, err
	}
	return &compiledLibrary{*p, rules, manifest}, nil
})

// over returns the library's program with the given data.
func (l *compiledLibrary) over(store storage.Store) *program {
	p := l.program
	p.store = store
	return &p
}

// compileLibraryOf does not check the library's references to input against the schema, which would double the time. A
// test checks them.
func compileLibraryOf(caps *ast.Capabilities) (p *program, rules int, manifest ast.Value, err error) {
	modules, err := parseLibrary(caps, false, false)
	if err != nil {
		return nil, 0, nil, err
	}
	for _, m := range modules {
		if packageName(m) != libraryPackage {
			continue
		}
		for _, r := range m.Rules {
			name := r.Head.Ref().String()
			if slices.Contains(ruleSets(), name) {
				rules++
			}
			if name == "manifest" && r.Head.Value != nil {
				manifest = r.Head.Value.Value
			}
		}
	}
	listed, ok := manifest.(ast.Object)
	if !ok {
		return nil, 0, nil, fmt.Errorf("%w: the manifest is missing", ErrMalformed)
	}
	want := 0
	err = listed.Iter(func(_, n *ast.Term) error {
		k, ok := n.Value.(ast.Number)
		if !ok {
			return fmt.Errorf("%w: invalid count %v in the manifest", ErrMalformed, n)
		}
		i, _ := k.Int()
		want += i
		return nil
	})
	if err != nil {
		return nil, 0, nil, err
	}
	if rules == 0 || rules != want {
		return nil, 0, nil, fmt.Errorf("%w: %d rules were loaded (expected %d by the manifest)", ErrMalformed, rules, want)
	}
	p, err = newProgram(modules, caps, nil, nil, "data."+libraryPackage+".decision")
	return p, rules, manifest, err
}

// Rules returns the rules of the built-in library, sorted by code, severity and title. A code may have several rules.
func Rules() []schemas.PolicyRule {
	modules, err := parseLibrary(capabilities(), false, true)
	if err != nil {
		panic("policy: the embedded library does not parse: " + err.Error()) // the package's own tests parse it
	}
	var docs []schemas.PolicyRule
	for _, m := range modules {
		for _, a := range m.Annotations {
			code, _ := a.Custom["code"].(string)
			if code == "" {
				continue
			}
			severity := ""
			if p := a.GetTargetPath(); len(p) > 0 {
				severity = strings.Trim(p[len(p)-1].String(), `"`)
			}
			docs = append(docs, schemas.PolicyRule{Code: code, Title: a.Title, Description: strings.TrimSpace(a.Description), Severity: severity})
		}
	}
	slices.SortFunc(docs, func(a, b schemas.PolicyRule) int {
		return strings.Compare(a.Code+"\x00"+a.Severity+"\x00"+a.Title, b.Code+"\x00"+b.Severity+"\x00"+b.Title)
	})
	return docs
}
