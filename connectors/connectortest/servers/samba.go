package servers

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/go-ldap/ldap/v3"
	"github.com/gofrs/flock"
)

// SambaAD starts a domain controller of Active Directory that stops with the test. Its ports are fixed (389, 636
// and two more), so each has an address of its own on loopback, kept from others by a lock.
func SambaAD(t TB) *Directory {
	t.Helper()
	bin, tool := program(t, "samba"), program(t, "samba-tool")
	if os.Geteuid() != 0 {
		t.Fatal("Samba gives its files to other accounts and listens below port 1024: run the tests as root")
	}
	host := ownAddress(t)
	dir := folder(t, "")
	d := &Directory{Address: host + ":389", TLSAddress: host + ":636", Suffix: "DC=example,DC=test",
		Admin: "administrator@example.test", Password: "Adm1n-secret!"}
	data := filepath.Join(dir, "domain")
	d.data = data
	run(t, "", dir, tool, "domain", "provision", "--targetdir="+data, "--realm=EXAMPLE.TEST", "--domain=EXAMPLE", "--server-role=dc",
		"--dns-backend=NONE", "--adminpass="+d.Password, "--host-ip="+host, "--host-name=dc1", "--use-rfc2307",
		"--option=interfaces="+host+"/8", "--option=bind interfaces only=yes")
	cmd := command(t, "", dir, bin, "-i", "-M", "single", "-s", filepath.Join(data, "etc", "smb.conf"),
		"--option=server services=ldap", "--option=dcerpc endpoint servers=", "--option=interfaces="+host+"/8", "--option=bind interfaces only=yes",
		"--option=pid directory="+dir, "--option=log file="+filepath.Join(dir, "samba.log"), "--option=ldap server require strong auth=no")
	// It exits when its input ends, so that it doesn't outlive killed tests.
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = input.Close() }) // it was killed by then
	background(t, cmd, func(context.Context) error {
		conn, err := ldap.DialURL("ldap://" + d.Address)
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.Bind(d.Admin, d.Password)
	})
	return d
}

// Allow adds entries to the access list of an entry and what is below it (SDDL, [MS-DTYP] 2.5.1).
func (d *Directory) Allow(t TB, dn, sddl string) {
	t.Helper()
	// The tool logs in by Kerberos or NTLM, which this server doesn't offer, so it works on the server's files.
	run(t, "", filepath.Dir(d.data), program(t, "samba-tool"), "dsacl", "set", "-s", filepath.Join(d.data, "etc", "smb.conf"),
		"-H", filepath.Join(d.data, "private", "sam.ldb"), "--objectdn="+dn, "--sddl="+sddl)
}

// ownAddress returns a loopback address without another domain controller.
func ownAddress(t TB) string {
	t.Helper()
	for n := 2; n < 30; n++ {
		host := fmt.Sprintf("127.0.0.%d", n)
		lock := flock.New(filepath.Join(os.TempDir(), "countersign-samba-"+host+".lock"))
		if ok, err := lock.TryLock(); err != nil || !ok {
			continue
		}
		free := true
		for _, port := range []string{"389", "636", "3268", "3269"} {
			l, err := net.Listen("tcp", net.JoinHostPort(host, port))
			if err != nil {
				free = false
				break
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if free {
			t.Cleanup(func() { _ = lock.Close() }) // the lock goes with the process in any case
			return host
		}
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("ports 389, 636, 3268 and 3269 are taken on 127.0.0.2 to 127.0.0.29: Samba can't use others")
	return ""
}
