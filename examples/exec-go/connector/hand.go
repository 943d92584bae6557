package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/countersign/countersign/schemas"
)

// hand is the outside hand of the conformance suite: it changes a separate folder for each case, as plain JSON and
// without any of the connector's code.
func hand(_ context.Context, t schemas.ConnectorTest) (schemas.ConnectorTestAnswer, error) {
	var out schemas.ConnectorTestAnswer
	dir := t.Application
	switch t.Do {
	case "harness":
		out.Harness = &schemas.ConnectorHarness{
			Payloads: map[string][]map[string]any{"team": {{"comment": ""}, {"comment": "100% \"of\" it; ünï\n"}}},
			Breaks:   []schemas.ConnectorBreak{{Name: "a file cut short"}, {Name: "no users", Corrupt: true}},
			Faulty: []schemas.ConnectorFaulty{
				{Name: "no such folder", Code: "unavailable", Set: map[string]any{"folder": "/nowhere/teams"}},
				{Name: "out of the repository", Code: "invalid", Set: map[string]any{"folder": "../teams"}},
				{Name: "a number", Code: "invalid", Set: map[string]any{"folder": 7}},
				{Name: "no folder", Code: "invalid", Remove: []string{"folder"}},
			},
		}
		return out, nil
	case "start":
		dir, err := os.MkdirTemp("", "teamfiles-")
		if err != nil {
			return out, err
		}
		out.Application, out.Config = dir, map[string]any{"folder": dir}
		return out, put(dir, "users", []string{})
	case "stop":
		return out, os.RemoveAll(dir)
	case "add_identity":
		name := "u-" + t.Word
		out.Name = &schemas.Name{Type: t.Type, SourceName: name}
		return out, change(dir, "users", func(list []string) []string { return append(without(list, name), name) })
	case "remove_identity":
		err := change(dir, "users", func(list []string) []string { return without(list, t.Name.SourceName) })
		files, globErr := filepath.Glob(filepath.Join(dir, "*.json"))
		if err = errors.Join(err, globErr); err != nil {
			return out, err
		}
		for _, file := range files {
			if name := filepath.Base(file[:len(file)-len(".json")]); name != "users" {
				err = errors.Join(err, member(dir, name, func(list []string) []string { return without(list, t.Name.SourceName) }))
			}
		}
		return out, err
	case "add_resource":
		out.Not = true
		return out, nil
	case "add_connection":
		return out, put(dir, t.Name.SourceName, map[string]any{"id": "by-hand-" + t.Name.SourceName, "comment": "", "members": []string{}})
	case "drop_connection":
		return out, os.Remove(filepath.Join(dir, t.Name.SourceName+".json"))
	case "grant", "revoke":
		user := t.Key.Target.SourceName
		return out, member(dir, t.Key.Connection.SourceName, func(list []string) []string {
			if list = without(list, user); t.Do == "grant" {
				list = append(list, user)
			}
			return list
		})
	case "break":
		if t.Break == "no users" {
			return out, os.Remove(filepath.Join(dir, "users.json"))
		}
		return out, os.WriteFile(filepath.Join(dir, "broken.json"), []byte(`{"id": "x", "comm`), 0o600)
	}
	return out, fmt.Errorf("unknown change %q", t.Do)
}

func without(list []string, name string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return s == name })
}

func put(dir, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".json"), b, 0o600)
}

func get(dir, name string, v any) error {
	b, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) || b == nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// change modifies a file that contains a list.
func change(dir, name string, f func([]string) []string) error {
	list := []string{}
	if err := get(dir, name, &list); err != nil {
		return err
	}
	return put(dir, name, f(list))
}

// member modifies the members of a team.
func member(dir, name string, f func([]string) []string) error {
	team := map[string]any{}
	if err := get(dir, name, &team); err != nil {
		return err
	}
	var list []string
	given, _ := team["members"].([]any)
	for _, m := range given {
		if s, ok := m.(string); ok {
			list = append(list, s)
		}
	}
	team["members"] = append([]string{}, f(list)...)
	return put(dir, name, team)
}
