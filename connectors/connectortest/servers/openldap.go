package servers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Directory is an LDAP server.
type Directory struct {
	// Address is host:port of ldap://, which takes StartTLS; TLSAddress that of ldaps://.
	Address, TLSAddress string
	// CAFile has the authority of its certificate, which names localhost and 127.0.0.1; OtherCAFile has another.
	CAFile, OtherCAFile string
	// Suffix is the top of the tree. Admin may do everything.
	Suffix, Admin, Password string

	data string // the folder of a domain controller
}

// Dial logs in as the administrator until the test ends.
func (d *Directory) Dial(t TB) *ldap.Conn {
	t.Helper()
	conn, err := ldap.DialURL("ldap://" + d.Address)
	if err != nil {
		t.Fatalf("connect to the directory: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // no longer needed
	conn.SetTimeout(time.Minute)
	if err := conn.Bind(d.Admin, d.Password); err != nil {
		t.Fatalf("log in to the directory: %v", err)
	}
	return conn
}

// slapdConfig limits searches to 25 entries; slapdRules allows the accounts all entries by pages, and the rights of
// the connector's scripts, in trees of any name. With slapdOverlays a deleted entry is removed from groups.
const slapdConfig = `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload refint
moduleload ppolicy
pidfile %[1]s/pid
TLSCACertificateFile %[1]s/ca.pem
TLSCertificateFile %[1]s/server.pem
TLSCertificateKeyFile %[1]s/server.key
loglevel none
database config
rootdn "cn=admin,cn=config"
rootpw admin-secret
database mdb
suffix "dc=example,dc=test"
rootdn "cn=admin,dc=example,dc=test"
rootpw admin-secret
directory %[1]s/data
maxsize 1073741824
dbnosync
index objectClass,cn,uid,member,uniqueMember,memberUid,gidNumber,entryUUID eq
sizelimit size.soft=25 size.hard=25
%[2]saccess to dn.base="dc=example,dc=test" attrs=entry by users read by * break
access to attrs=userPassword by anonymous auth by * none
access to * by * none
overlay ppolicy
`

const slapdRules = `limits dn.regex="^cn=countersign-(plan|apply)," size.prtotal=unlimited
access to dn.regex="^(.+,)?ou=groups,(.+,)?dc=example,dc=test$"
  by dn.regex="^cn=(countersign-plan|bounded)," read
  by dn.regex="^cn=countersign-apply," write
  by dn.regex="^cn=blind," none
  by * break
access to dn.regex="^(.+,)?ou=groups,(.+,)?dc=example,dc=test$" attrs=entry,objectClass,cn,description,entryUUID
  by dn.regex="^cn=memberless," read
  by * break
access to dn.regex="^(.+,)?ou=(people|elsewhere),(.+,)?dc=example,dc=test$" attrs=entry,objectClass,uid,cn,gidNumber,entryUUID,shadowExpire,pwdAccountLockedTime,pwdEndTime
  by dn.regex="^cn=(countersign-plan|countersign-apply|memberless|bounded)," read
  by * break
access to dn.regex="^(.+,)?ou=groups,(.+,)?dc=example,dc=test$"
  by dn.regex="^cn=peopleless," read
  by * break
access to dn.regex="^ou=people,(.+,)?dc=example,dc=test$" attrs=entry,objectClass
  by dn.regex="^cn=peopleless," read
  by * break
`

const slapdOverlays = `
overlay memberof
memberof-refint TRUE
overlay refint
refint_attributes member uniqueMember memberOf
refint_nothing cn=nothing,dc=example,dc=test
`

// Slapd configures a server beside its tree.
type Slapd struct {
	// Overlays remove deleted entries from groups, and maintain memberOf.
	Overlays bool
	// Closed gives the accounts no rights. Its configuration is the entry cn=config, with an administrator of its own.
	Closed bool
}

// The administrator of a server's configuration, and the entry of its database there.
const (
	ConfigAdmin    = "cn=admin,cn=config"
	ConfigDatabase = "olcDatabase={1}mdb,cn=config"
)

// OpenLDAP starts a slapd that stops with the test. It has nothing but the suffix, ou=services with the accounts
// countersign-plan and countersign-apply (and some with fewer rights), each with its own name as password.
func OpenLDAP(t TB, has Slapd) *Directory {
	t.Helper()
	const owner = "openldap"
	bin := program(t, "slapd")
	dir := folder(t, owner)
	d := &Directory{CAFile: filepath.Join(dir, "ca.pem"), OtherCAFile: filepath.Join(dir, "other.pem"),
		Suffix: "dc=example,dc=test", Admin: "cn=admin,dc=example,dc=test", Password: "admin-secret"}
	certify(t, dir)
	config := filepath.Join(dir, "slapd.conf")
	rules := slapdRules
	if has.Closed {
		rules = ""
	}
	text := fmt.Sprintf(slapdConfig, dir, rules)
	if has.Overlays {
		text += slapdOverlays
	}
	write(t, config, text)
	for _, name := range []string{"data", "config"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	give(t, owner, dir)
	options := []string{"-f", config}
	if has.Closed {
		options = append(options, "-F", filepath.Join(dir, "config")) // which the file is converted to
	}
	for attempt := 1; ; attempt++ {
		d.Address, d.TLSAddress = fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
		cmd := command(t, owner, dir, bin, append(options, "-h", "ldap://"+d.Address+"/ ldaps://"+d.TLSAddress+"/", "-d", "0")...)
		err := try(t, cmd, func(context.Context) error {
			conn, err := ldap.DialURL("ldap://" + d.Address)
			if err != nil {
				return err
			}
			defer conn.Close()
			return conn.Bind(d.Admin, d.Password)
		})
		if err == nil {
			break
		}
		if attempt == 5 {
			t.Fatalf("start slapd: %v", err)
		}
	}
	conn := d.Dial(t)
	add := func(dn string, attributes map[string][]string) {
		req := ldap.NewAddRequest(dn, nil)
		for k, v := range attributes {
			req.Attribute(k, v)
		}
		if err := conn.Add(req); err != nil {
			t.Fatalf("add %s: %v", dn, err)
		}
	}
	add(d.Suffix, map[string][]string{"objectClass": {"domain"}, "dc": {"example"}})
	add("ou=services,"+d.Suffix, map[string][]string{"objectClass": {"organizationalUnit"}, "ou": {"services"}})
	for _, name := range []string{"countersign-plan", "countersign-apply", "bounded", "blind", "memberless", "peopleless"} {
		add("cn="+name+",ou=services,"+d.Suffix, map[string][]string{"objectClass": {"applicationProcess", "simpleSecurityObject", "uidObject"},
			"cn": {name}, "uid": {name}, "userPassword": {name}})
	}
	return d
}

func write(t TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Shell runs a script of sh as an administrator of the server would, with variables NAME=value and arguments.
func Shell(t TB, script string, variables []string, args ...string) {
	t.Helper()
	program(t, "ldapmodify")
	cmd := command(t, "", t.TempDir(), "sh", append([]string{"-euc", script, "sh"}, args...)...)
	cmd.Env = append(cmd.Env, variables...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the script: %v\n%s", err, out)
	}
}

// give changes the owner of everything in a folder to the server's account.
func give(t TB, owner, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	as := account(t, owner)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Chown(filepath.Join(dir, e.Name()), int(as.Uid), int(as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

// certify writes ca.pem, other.pem, server.pem and server.key into a folder.
func certify(t TB, dir string) {
	t.Helper()
	var authority *x509.Certificate
	var signer *ecdsa.PrivateKey
	for i, name := range []string{"other.pem", "ca.pem", "server.pem"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: "countersign tests " + name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), BasicConstraintsValid: true}
		parent, by := c, key
		if name == "server.pem" {
			c.DNSNames, c.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
			c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			parent, by = authority, signer
		} else {
			c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		if name == "server.pem" {
			b, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "server.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})))
		}
		authority, signer = c, key
		if authority, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
	}
}
