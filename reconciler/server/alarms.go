package server

import (
	"context"
	"errors"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/schemas"
)

// alarmTopics are the issues about what stops everything, by kind. A pass that succeeds closes them.
var alarmTopics = map[string]string{
	"ledger":    "The ledger cannot be trusted: nothing is applied",
	"rewritten": "The branch was rewritten: nothing is applied",
}

func alarmTopic(kind, body string) forge.Topic {
	return forge.Topic{Key: "alarm " + kind, Title: alarmTopics[kind], Labels: []string{"alarm"}, Body: body}
}

// alarmOf is the kind of alarm that an error of a pass is; "" for a failure of another kind.
func alarmOf(err error) string {
	var rewritten *reconciler.RewrittenError
	var ledger interface {
		error
		LedgerAlarm()
	}
	switch {
	case errors.As(err, &ledger):
		return "ledger"
	case errors.As(err, &rewritten):
		return "rewritten"
	}
	return ""
}

// alarms tells in the log, in the metrics and at the forge what somebody should look at now.
func (s *Server) alarms(ctx context.Context, rep *schemas.RunReport, err error) {
	raise := func(kind, what string) {
		s.health.alarm(kind)
		s.config.Logger.Error("ALARM: "+kind, "reason", what)
	}
	if rep != nil {
		for _, a := range rep.Admissions {
			if a.Verdict == schemas.AdmissionQuarantined && len(a.Changes) > 0 {
				raise("quarantine", "commit "+a.Commit+" was not signed off as policy requires")
			}
			if a.Evidence != nil {
				for _, one := range a.Evidence.Alarms {
					raise("tampering", one)
				}
			}
		}
	}
	kind := alarmOf(err)
	if kind == "" {
		return
	}
	raise(kind, err.Error())
	if s.config.Pass.Forge == nil || s.publisher == "" {
		return
	}
	if err := s.config.Pass.Forge.UpdateTopics(ctx, s.publisher, []forge.Topic{alarmTopic(kind, report.MarkdownText(err.Error())+"\n")}); err != nil {
		s.config.Logger.Error("the alarm could not be told at the forge", "error", err)
	}
}

// quarantined is the number of quarantined files.
func quarantined(rep *schemas.RunReport) int {
	if rep == nil {
		return 0
	}
	return len(rep.Quarantined)
}
