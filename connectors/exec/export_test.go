package exec

import "io"

// InProcess has a function speak in the place of a child.
func (c *Config) InProcess(f func(in io.Reader, out io.Writer)) { c.inProcess = f }
