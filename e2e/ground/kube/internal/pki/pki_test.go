// This file owns the proof that what is issued verifies, names the right hosts and survives a second run.
// It must not start servers.
package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"
)

func ground(t *testing.T, dir, nodes string) Config {
	t.Helper()
	config, err := ParseConfig(dir, "10.7.0.1", "10.96.0.1", nodes)
	if err != nil {
		t.Fatal(err)
	}
	if err := Ensure(config); err != nil {
		t.Fatal(err)
	}
	return config
}

func snapshot(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func readCertificate(t *testing.T, certPath, keyPath string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func roots(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatal("ca.crt holds no certificate")
	}
	return pool
}

func TestServersAreReachedByEveryNameTheyHave(t *testing.T) {
	dir := t.TempDir()
	ground(t, dir, "n1=10.7.0.11,n2=10.7.0.12")
	hosts := map[string][]string{
		"apiserver": {
			"10.7.0.1", "10.96.0.1", "127.0.0.1", "localhost", "kubernetes", "kubernetes.default",
			"kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		},
		"nodes/n1/kubelet": {"10.7.0.11", "n1"},
		"nodes/n2/kubelet": {"10.7.0.12", "n2"},
	}
	for base, names := range hosts {
		certificate := readCertificate(t, filepath.Join(dir, base+".crt"), filepath.Join(dir, base+".key"))
		for _, name := range names {
			options := x509.VerifyOptions{Roots: roots(t, dir), DNSName: name}
			if _, err := certificate.Verify(options); err != nil {
				t.Errorf("%s as %s: %v", base, name, err)
			}
		}
		if err := certificate.VerifyHostname("elsewhere"); err == nil {
			t.Errorf("%s also answers for elsewhere", base)
		}
	}
}

func TestKubeconfigsNameTheirUsers(t *testing.T) {
	dir := t.TempDir()
	ground(t, dir, "n1=10.7.0.11")
	users := map[string][2]string{
		"admin.conf":              {"ground:admin", "system:masters"},
		"controller-manager.conf": {"system:kube-controller-manager", ""},
		"scheduler.conf":          {"system:kube-scheduler", ""},
		"proxy.conf":              {"system:kube-proxy", ""},
		"coredns.conf":            {"system:coredns", ""},
		"netpol.conf":             {"ground:netpol", ""},
		"csi.conf":                {"ground:csi", "system:masters"},
		"nodes/n1/kubelet.conf":   {"system:node:n1", "system:nodes"},
	}
	for name, want := range users {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var config kubeconfig
		if err := yaml.UnmarshalStrict(text, &config); err != nil {
			t.Fatal(err)
		}
		if got := config.Clusters[0].Cluster.Server; got != "https://10.7.0.1:6443" {
			t.Errorf("%s points at %s", name, got)
		}
		user := config.Users[0].User
		pair, err := tls.X509KeyPair(user.Certificate, user.Key)
		if err != nil {
			t.Fatal(err)
		}
		subject := pair.Leaf.Subject
		group := ""
		if len(subject.Organization) == 1 {
			group = subject.Organization[0]
		}
		if got := [2]string{subject.CommonName, group}; got != want {
			t.Errorf("%s is for %v, not %v", name, got, want)
		}
		options := x509.VerifyOptions{Roots: roots(t, dir), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		if _, err := pair.Leaf.Verify(options); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASecondRunChangesNothing(t *testing.T) {
	dir := t.TempDir()
	ground(t, dir, "n1=10.7.0.11")
	before := snapshot(t, dir)
	ground(t, dir, "n1=10.7.0.11")
	after := snapshot(t, dir)
	if len(before) != len(after) {
		t.Errorf("%d files became %d", len(before), len(after))
	}
	for path, text := range before {
		if !bytes.Equal(text, after[path]) {
			t.Errorf("%s changed", path)
		}
	}
}

func TestANewNodeIsAddedAndAMovedOneRenewed(t *testing.T) {
	dir := t.TempDir()
	ground(t, dir, "n1=10.7.0.11,n2=10.7.0.12")
	before := snapshot(t, dir)
	ground(t, dir, "n1=10.7.0.11,n2=10.7.0.22,n3=10.7.0.13")
	after := snapshot(t, dir)
	changed := 0
	for path, text := range before {
		if !bytes.Equal(text, after[path]) {
			changed++
			if filepath.Dir(path) != filepath.Join(dir, "nodes", "n2") {
				t.Errorf("%s changed", path)
			}
		}
	}
	if changed != 2 {
		t.Errorf("%d files changed, not the moved node's certificate and key alone", changed)
	}
	certificate := readCertificate(t, filepath.Join(dir, "nodes/n2/kubelet.crt"), filepath.Join(dir, "nodes/n2/kubelet.key"))
	if err := certificate.VerifyHostname("10.7.0.22"); err != nil {
		t.Error(err)
	}
	if added := len(after) - len(before); added != 3 {
		t.Errorf("%d files were added, not the new node's three", added)
	}
}

func TestDamagedFilesAreMadeAnewButAnAuthorityWithoutItsKeyIsNot(t *testing.T) {
	dir := t.TempDir()
	config := ground(t, dir, "n1=10.7.0.11")
	for _, name := range []string{"apiserver.crt", "admin.conf"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("torn"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ground(t, dir, "n1=10.7.0.11")
	readCertificate(t, filepath.Join(dir, "apiserver.crt"), filepath.Join(dir, "apiserver.key"))

	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if err := Ensure(config); err == nil {
		t.Error("an authority was replaced without a word")
	}
}

func TestKeysAreForTheOwnerAlone(t *testing.T) {
	dir := t.TempDir()
	ground(t, dir, "n1=10.7.0.11")
	for path := range snapshot(t, dir) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		secret := filepath.Ext(path) == ".key" || filepath.Ext(path) == ".conf"
		if secret && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode().Perm())
		}
	}
}

func TestBadNodesAreRefused(t *testing.T) {
	for _, nodes := range []string{"n1", "n1=", "../x=10.0.0.1", "n1=10.0.0.1,n1=10.0.0.2", "N1=10.0.0.1"} {
		if _, err := ParseConfig("d", "10.7.0.1", "10.96.0.1", nodes); err == nil {
			t.Errorf("%q was taken", nodes)
		}
	}
}
