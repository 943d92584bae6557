package schemas

// SettingsPath is the settings file of an access repository; the commit that first adds it is
// the trust anchor.
const SettingsPath = "countersign.yaml"

// PeoplePath is the people file of an access repository.
const PeoplePath = "people.yaml"

// SettingsSpec is countersign.yaml.
type SettingsSpec struct {
	Branch         string   `yaml:"branch,omitempty" json:"branch,omitempty" jsonschema:"minLength=1,maxLength=255,default=main" jsonschema_description:"The branch whose merges take effect."`
	Folders        Folders  `yaml:"folders,omitempty" json:"folders,omitempty" jsonschema_description:"Where requests, applications and policy are."`
	Forge          Forge    `yaml:"forge" json:"forge" jsonschema_description:"Where changes are reviewed."`
	Signoff        string   `yaml:"signoff,omitempty" json:"signoff,omitempty" jsonschema:"enum=signed,enum=unauthenticated,default=signed" jsonschema_description:"For the local forge: signed counts only the verified signer of the merge commit; unauthenticated takes Approved-by trailers at their word."`
	AllowedSigners string   `yaml:"allowed_signers,omitempty" json:"allowed_signers,omitempty" jsonschema:"maxLength=1024" jsonschema_description:"For the local forge: the file in this repository that lists whose SSH keys count (ssh-keygen's allowed signers format)."`
	Owners         []string `yaml:"owners" json:"owners" jsonschema:"minItems=1" jsonschema_description:"Who signs off changes of settings, applications, people and policy: user:LOGIN-OR-EMAIL or team:NAME."`
	Limits         Limits   `yaml:"limits,omitempty" json:"limits,omitempty" jsonschema_description:"The removal budget of every application that sets none of its own."`
	Ledger         Ledger   `yaml:"ledger,omitempty" json:"ledger,omitzero" jsonschema_description:"Who signs the record of what was admitted and done."`
	Tickets        string   `yaml:"tickets,omitempty" json:"tickets,omitempty" jsonschema:"maxLength=500" jsonschema_description:"A regular expression (RE2) that every ticket must match; given, a ticket is required."`
}

// Ledger configures the record of what was admitted and done.
type Ledger struct {
	PublicKey string `yaml:"public_key,omitempty" json:"public_key,omitempty" jsonschema:"maxLength=200,pattern=^countersign-ledger[+][0-9a-f]{8}[+][A-Za-z0-9+/=]+$,example=countersign-ledger+2f1c9a04+AYJz3nL1mM0m3nYt0k2kqLw5k0vYc5mVw3F1v2b9Qx7G" jsonschema_description:"The public half of the key that signs the ledger, as countersign audit new-key prints it. A run needs the private half: COUNTERSIGN_LEDGER_KEY, COUNTERSIGN_LEDGER_KEY_FILE or --ledger-key. Without a key here, the ledger is not signed."`
}

// Folders are paths from the repository's root, with slashes, without one at the end.
type Folders struct {
	Requests     string `yaml:"requests,omitempty" json:"requests,omitempty" jsonschema:"maxLength=255,default=requests" jsonschema_description:"Where requests are, and the documents that steer a run."`
	Applications string `yaml:"applications,omitempty" json:"applications,omitempty" jsonschema:"maxLength=255,default=applications" jsonschema_description:"Where applications are, each in a file of its name."`
	Policy       string `yaml:"policy,omitempty" json:"policy,omitempty" jsonschema:"maxLength=255,default=policy" jsonschema_description:"Where the organisation's own rules are: .rego files and data.yaml or data.json."`
}

// Forge configures where changes are reviewed.
type Forge struct {
	Kind       string `yaml:"kind" json:"kind" jsonschema:"enum=local,enum=github" jsonschema_description:"local: trailers or signatures of merge commits; github: pull request reviews."`
	Repository string `yaml:"repository,omitempty" json:"repository,omitempty" jsonschema:"maxLength=255,pattern=^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$" jsonschema_description:"owner/name on the forge."`
	Publisher  string `yaml:"publisher,omitempty" json:"publisher,omitempty" jsonschema:"maxLength=255,default=github-actions[bot]" jsonschema_description:"For github: the account whose previews count as evidence: APP-SLUG[bot] of a GitHub App of your own. Every workflow of the repository can act as github-actions[bot], so that account also needs any_workflow_may_publish."`
	// AnyWorkflow accepts a publisher that every workflow of the repository can act as.
	AnyWorkflow bool     `yaml:"any_workflow_may_publish,omitempty" json:"any_workflow_may_publish,omitempty" jsonschema_description:"For github: true accepts previews by github-actions[bot] as evidence, although every workflow of the repository can act as that account."`
	Bots        []string `yaml:"bots,omitempty" json:"bots,omitempty" jsonschema_description:"For github: bots whose approval counts like a person's. None unless named."`
	AuthorBots  []string `yaml:"author_bots,omitempty" json:"author_bots,omitempty" jsonschema_description:"For github: bots that may open pull requests, push to them and author their commits. A change by any other bot is not admitted."`
}

// Settings is the decoded settings file with its defaults filled in.
type Settings struct {
	Spec     SettingsSpec
	Position Position
}

// PeopleSpec is people.yaml.
type PeopleSpec struct {
	People []Person            `yaml:"people,omitempty" json:"people,omitempty" jsonschema_description:"Everybody who is known by more than one name."`
	Teams  map[string][]string `yaml:"teams,omitempty" json:"teams,omitempty" jsonschema_description:"For the local forge: the e-mail addresses or logins of each team's members."`
}

// Person is who somebody is on the forge, in commits and in each application.
type Person struct {
	Login      string              `yaml:"login,omitempty" json:"login,omitempty" jsonschema:"maxLength=255" jsonschema_description:"The account on the forge."`
	AccountID  int64               `yaml:"account_id,omitempty" json:"account_id,omitempty" jsonschema:"minimum=1" jsonschema_description:"The id of that account. Logins can change hands, ids cannot: gh api users/LOGIN --jq .id prints it."`
	Logins     []Account           `yaml:"logins,omitempty" json:"logins,omitempty" jsonschema_description:"Further accounts of this person on the forge."`
	Emails     []string            `yaml:"emails,omitempty" json:"emails,omitempty" jsonschema_description:"The addresses that appear in commits."`
	Manager    string              `yaml:"manager,omitempty" json:"manager,omitempty" jsonschema:"maxLength=255" jsonschema_description:"The manager's login or address."`
	Identities map[string][]string `yaml:"identities,omitempty" json:"identities,omitempty" jsonschema_description:"The names of this person's accounts, by application."`
}

// Account is an account on the forge.
type Account struct {
	Login     string `yaml:"login" json:"login" jsonschema:"minLength=1,maxLength=255" jsonschema_description:"The account's login."`
	AccountID int64  `yaml:"account_id,omitempty" json:"account_id,omitempty" jsonschema:"minimum=1" jsonschema_description:"The account's id."`
}

// People is the decoded people file.
type People struct {
	Spec     PeopleSpec
	Position Position
}
