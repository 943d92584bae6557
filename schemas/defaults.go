package schemas

// SetDefaults fills in what the settings leave out. The JSON Schema has the same defaults.
func (s *SettingsSpec) SetDefaults() {
	s.Branch = orDefault(s.Branch, "main")
	s.Folders = s.Folders.WithDefaults()
	s.Signoff = orDefault(s.Signoff, "signed")
	if s.Forge.Kind == "github" {
		s.Forge.Publisher = orDefault(s.Forge.Publisher, "github-actions[bot]")
	}
}

// SetDefaults fills in what the application leaves out. The JSON Schema has the same defaults.
func (s *ApplicationSpec) SetDefaults() {
	s.Provisioning = orDefault(s.Provisioning, ProvisioningDirect)
	s.Mode = orDefault(s.Mode, ModeFull)
	s.Unmanaged = orDefault(s.Unmanaged, UnmanagedReport)
	s.Drift.Mode = orDefault(s.Drift.Mode, DriftReport)
	if s.Fulfilment != nil {
		s.Fulfilment.SetDefaults()
	}
}

func orDefault[T ~string](v, def T) T {
	if v == "" {
		return def
	}
	return v
}

// The defaults of a fulfilment.
const (
	defaultGrace          = "1h"
	defaultWebhookTimeout = "30s"
)

// SetDefaults fills in what the fulfilment leaves out. The JSON Schema has the same defaults.
func (f *Fulfilment) SetDefaults() {
	f.Grace = orDefault(f.Grace, defaultGrace)
	if f.Webhook != nil {
		f.Webhook.Timeout = orDefault(f.Webhook.Timeout, defaultWebhookTimeout)
	}
}
