package connectors

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// CAFile is the setting ca_file: a PEM file of the authorities that may have signed the server's certificate. They
// replace the system's, so that none of those can vouch for another server. To trust both, put both into the file.
// The path is absolute, or relative to the access repository and, with all links followed, within it.
type CAFile string

// TLS configures how a connection checks its server: TLS 1.2 or later, and the authorities of file if it is set.
// plain is the reason why the connection doesn't use TLS ("the URL is http://"), or "": a file that would check
// nothing is refused. Errors are *Error with the code Invalid.
func (c Config) TLS(file CAFile, plain string) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return out, nil
	}
	if plain != "" {
		return nil, c.Invalid("ca_file", "%s, so no certificate is checked; remove ca_file or use TLS", plain)
	}
	pem, err := c.readFile("ca_file", string(file))
	if err != nil {
		return nil, err
	}
	out.RootCAs = x509.NewCertPool()
	if !out.RootCAs.AppendCertsFromPEM(pem) {
		return nil, c.Invalid("ca_file", "no certificate found (expected a PEM file)")
	}
	return out, nil
}

// maxConfigFile is the limit on a file that a setting names, in bytes: the certificates of a system have 300 KiB.
const maxConfigFile = 4 << 20

func readWithin(root *os.Root, path string) ([]byte, error) {
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	b, err := readRegular(f, maxConfigFile)
	return b, errors.Join(err, f.Close())
}

// readFile reads the file that a setting names. A relative path stays within Directory: files in Git choose it.
func (c Config) readFile(field, path string) ([]byte, error) {
	var content []byte
	var err error
	switch {
	case filepath.IsAbs(path):
		content, err = ReadFile(path, maxConfigFile)
	case c.Directory == "" || !filepath.IsLocal(path):
		return nil, c.Invalid(field, "the path is outside the access repository (expected an absolute path, or one within it)")
	default:
		var root *os.Root
		if root, err = os.OpenRoot(c.Directory); err == nil {
			defer root.Close() // only read
			content, err = readWithin(root, path)
		}
	}
	if err != nil {
		return nil, &Error{Code: Invalid, Op: c.op(), Message: "config." + field + ": the file cannot be read", Err: err}
	}
	return content, nil
}
