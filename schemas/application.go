package schemas

// Mode limits what countersign may do to an application.
type Mode string

// The modes of an application, from the most careful.
const (
	ModeObserve Mode = "observe" // reads and plans, never writes
	ModeAdd     Mode = "add"     // creates and grants only
	ModeFull    Mode = "full"    // the default
)

// Unmanaged selects what happens to entitlements inside a managed connection that no request ever mentioned.
type Unmanaged string

// The treatments of unmanaged entitlements.
const (
	UnmanagedIgnore Unmanaged = "ignore"
	UnmanagedReport Unmanaged = "report" // the default
	UnmanagedRevoke Unmanaged = "revoke"
)

// DriftMode selects what a scheduled run does about drift.
type DriftMode string

// The drift modes.
const (
	DriftReport  DriftMode = "report" // the default
	DriftEnforce DriftMode = "enforce"
)

// ApplicationMetadata names an application.
type ApplicationMetadata struct {
	Name string `yaml:"name" json:"name" jsonschema:"minLength=1,maxLength=64,pattern=^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" jsonschema_description:"What requests call the application."`
}

// ApplicationSpec is one installation of a system that holds access.
type ApplicationSpec struct {
	Connector    string              `yaml:"connector" json:"connector" jsonschema:"minLength=1,maxLength=64,pattern=^[a-z][a-z0-9_]*$" jsonschema_description:"The connector that reads and changes it."`
	Config       map[string]any      `yaml:"config,omitempty" json:"config,omitempty" jsonschema_description:"The connector's settings, checked against its schema. A secret is {env: NAME} or {file: /path}, never a literal."`
	Owners       []string            `yaml:"owners" json:"owners" jsonschema:"minItems=1" jsonschema_description:"Who signs off changes: user:LOGIN-OR-EMAIL or team:NAME."`
	Scope        map[string][]string `yaml:"scope" json:"scope" jsonschema_description:"Which connections are managed: glob patterns by type. Nothing outside is ever changed."`
	Grantable    map[string][]string `yaml:"grantable,omitempty" json:"grantable,omitempty" jsonschema_description:"What may be granted: glob patterns by type. Connections default to the scope, identities to all, resources to none."`
	Privileged   map[string][]string `yaml:"privileged,omitempty" json:"privileged,omitempty" jsonschema_description:"Powerful connections and targets, beside the connector's own list: glob patterns by type. They need more sign-off."`
	Provisioning Provisioning        `yaml:"provisioning,omitempty" json:"provisioning,omitempty" jsonschema:"enum=direct,enum=webhook,enum=ticket,default=direct" jsonschema_description:"Who carries out operations."`
	Fulfilment   *Fulfilment         `yaml:"fulfilment,omitempty" json:"fulfilment,omitempty" jsonschema_description:"Whom operations are given to that countersign does not carry out itself."`
	Mode         Mode                `yaml:"mode,omitempty" json:"mode,omitempty" jsonschema:"enum=observe,enum=add,enum=full,default=full" jsonschema_description:"observe reads and plans, add creates and grants only, full does everything."`
	Unmanaged    Unmanaged           `yaml:"unmanaged,omitempty" json:"unmanaged,omitempty" jsonschema:"enum=ignore,enum=report,enum=revoke,default=report" jsonschema_description:"What becomes of entitlements that no request ever mentioned."`
	Drift        Drift               `yaml:"drift,omitempty" json:"drift,omitempty" jsonschema_description:"When drift is looked for and what is done about it."`
	Limits       *Limits             `yaml:"limits,omitempty" json:"limits,omitempty" jsonschema_description:"The removal budget, in place of the settings'."`
}

// Drift configures when drift is looked for and what is done about it.
type Drift struct {
	Mode     DriftMode `yaml:"mode,omitempty" json:"mode,omitempty" jsonschema:"enum=report,enum=enforce,default=report" jsonschema_description:"report it, or enforce the desired state."`
	Schedule string    `yaml:"schedule,omitempty" json:"schedule,omitempty" jsonschema:"maxLength=200" jsonschema_description:"A cron schedule of five fields, CRON_TZ=Zone before it for a time zone."`
}

// Application is a decoded application file with its defaults filled in.
type Application struct {
	Name     string
	Spec     ApplicationSpec
	Position Position
}

// LimitSet bounds removals in each dimension; nil is without limit of its own.
type LimitSet struct {
	Revokes    *int `yaml:"revokes,omitempty" json:"revokes,omitempty" jsonschema:"minimum=0" jsonschema_description:"Members and grants taken away, together."`
	Members    *int `yaml:"members,omitempty" json:"members,omitempty" jsonschema:"minimum=0" jsonschema_description:"Memberships taken away."`
	Grants     *int `yaml:"grants,omitempty" json:"grants,omitempty" jsonschema:"minimum=0" jsonschema_description:"Privileges taken away."`
	Deletions  *int `yaml:"deletions,omitempty" json:"deletions,omitempty" jsonschema:"minimum=0" jsonschema_description:"Connections deleted."`
	Attributes *int `yaml:"attributes,omitempty" json:"attributes,omitempty" jsonschema:"minimum=0" jsonschema_description:"Payload attributes overwritten."`
}

// Limits is the removal budget: for one application in one run, and beside it for one request, for a
// run over all applications, and for one application in 24 hours.
type Limits struct {
	LimitSet `yaml:",inline"`
	Request  *LimitSet `yaml:"request,omitempty" json:"request,omitempty" jsonschema_description:"For the removals that one request leads to."`
	Run      *LimitSet `yaml:"run,omitempty" json:"run,omitempty" jsonschema_description:"For one invocation, over all applications."`
	Day      *LimitSet `yaml:"day,omitempty" json:"day,omitempty" jsonschema_description:"For one application in any 24 hours."`
}
