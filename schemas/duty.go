package schemas

// Duty is a set of connections of which one person may hold only some at a time, as data.separation_of_duties has it.
type Duty struct {
	Name string `json:"name"`
	// Connections are named application/type/source_name.
	Connections []string `json:"connections"`
	// AtMost is how many of them one may hold; nil is 1.
	AtMost *int `json:"at_most,omitempty"`
}

// Most is how many of the connections one may hold.
func (d Duty) Most() int {
	if d.AtMost == nil {
		return 1
	}
	return *d.AtMost
}
