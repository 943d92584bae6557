package strict

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// CheckPlaces reports documents in a folder where their kind does not belong, by the settings
// (nil for the default folders). Decode has checked what needs no settings.
func CheckPlaces(file string, docs []schemas.Document, s *schemas.SettingsSpec) schemas.ErrorList {
	var list schemas.ErrorList
	fail := func(p schemas.Position, field, msg, hint string) {
		list = append(list, schemas.Error{Position: p, Field: field, Msg: msg, Hint: hint})
	}
	folders := schemas.DefaultFolders()
	if s != nil {
		folders = s.Folders.WithDefaults()
	}
	class, _ := schemas.IsControlFile(file, s)
	for _, doc := range docs {
		request := doc.Kind.IsRequest() || doc.Kind.IsControl()
		switch {
		case class == schemas.ClassRequest && !request:
			hint := "move it to " + folders.Applications + "/"
			if doc.Kind != schemas.KindApplication {
				hint = ""
			}
			fail(doc.At("kind"), "kind", fmt.Sprintf("%s documents don't belong in %s/ (expected requests, Admission, BudgetOverride or Acknowledgement)",
				doc.Kind, folders.Requests), hint)
		case class == schemas.ClassApplication && doc.Kind != schemas.KindApplication:
			fail(doc.At("kind"), "kind", fmt.Sprintf("%s documents don't belong in %s/ (expected Application)", doc.Kind, folders.Applications),
				"move it to "+folders.Requests+"/")
		case class == schemas.ClassApplication:
			base := strings.TrimSuffix(strings.TrimSuffix(path.Base(file), ".yaml"), ".yml")
			if doc.Metadata.Name != base {
				fail(doc.At("metadata.name"), "metadata.name", fmt.Sprintf("the application is not called as its file (expected %s)", strconv.QuoteToASCII(base)),
					"rename the file or the application")
			} else if doc.Index > 0 {
				fail(doc.Position, "", "a second application in one file", "give each application a file of its own")
			}
		case class == schemas.ClassPolicy || class == schemas.ClassSigners || class == "":
			fail(doc.Position, "", fmt.Sprintf("%s documents don't belong here (expected %s/ or %s/)", doc.Kind, folders.Requests, folders.Applications), "")
		}
	}
	return list.Sort()
}
