// This file owns the making and checking of keys and certificates.
// It must not choose who gets one.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"slices"
	"time"
)

const (
	lifetime = 10 * 365 * 24 * time.Hour
	// A certificate with less than this left is made anew.
	renewBefore = 30 * 24 * time.Hour
	// Tests set the clock back; a certificate is valid from a little before it was made.
	backdate = 24 * time.Hour
)

// subject is who a certificate speaks for.
type subject struct {
	name      string
	groups    []string
	hosts     []string
	addresses []netip.Addr
	server    bool
}

type authority struct {
	certificate *x509.Certificate
	pem         []byte
	key         *ecdsa.PrivateKey
}

func ensureAuthority(certPath, keyPath string) (*authority, error) {
	certPEM, certErr := os.ReadFile(certPath)
	keyPEM, keyErr := os.ReadFile(keyPath)
	switch {
	case certErr == nil && keyErr == nil:
		certificate, key, err := parsePair(certPEM, keyPEM)
		if err != nil {
			return nil, fmt.Errorf("failed to read the existing authority: %w", err)
		}
		return &authority{certificate: certificate, pem: certPEM, key: key}, nil
	case errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist),
		errors.Is(certErr, fs.ErrNotExist) && keyErr == nil:
		// The key is written first, so a key without a certificate is a first run that was cut short.
	default:
		// A certificate without its key may already be trusted elsewhere: a new one would cut those off silently.
		return nil, fmt.Errorf("failed to read the existing authority: %w", errors.Join(certErr, keyErr))
	}

	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template, err := newTemplate("ground-ca", nil)
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("failed to sign the authority: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("failed to read the new authority: %w", err)
	}
	made := &authority{certificate: certificate, pem: encode("CERTIFICATE", der), key: key}
	return made, writePair(certPath, keyPath, made.pem, key)
}

// ensurePair keeps a key pair that still fits its subject and makes a new one otherwise.
func (a *authority) ensurePair(certPath, keyPath string, who subject) error {
	certPEM, certErr := os.ReadFile(certPath)
	keyPEM, keyErr := os.ReadFile(keyPath)
	if certErr == nil && keyErr == nil && a.fits(certPEM, keyPEM, who) == nil {
		return nil
	}
	certPEM, key, err := a.issue(who)
	if err != nil {
		return err
	}
	return writePair(certPath, keyPath, certPEM, key)
}

func (a *authority) issue(who subject) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	template, err := newTemplate(who.name, who.groups)
	if err != nil {
		return nil, nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{who.usage()}
	template.DNSNames = who.hosts
	for _, address := range who.addresses {
		template.IPAddresses = append(template.IPAddresses, address.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to sign the certificate of %s: %w", who.name, err)
	}
	return encode("CERTIFICATE", der), key, nil
}

// fits says why a key pair cannot go on being used for a subject, or nil.
func (a *authority) fits(certPEM, keyPEM []byte, who subject) error {
	certificate, _, err := parsePair(certPEM, keyPEM)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.certificate)
	if _, err := certificate.Verify(x509.VerifyOptions{
		Roots:       roots,
		CurrentTime: time.Now().Add(renewBefore),
		KeyUsages:   []x509.ExtKeyUsage{who.usage()},
	}); err != nil {
		return fmt.Errorf("failed to verify: %w", err)
	}
	if certificate.Subject.CommonName != who.name || !slices.Equal(certificate.Subject.Organization, who.groups) {
		return fmt.Errorf("failed to match: it is for %s", certificate.Subject)
	}
	for _, host := range who.hosts {
		if err := certificate.VerifyHostname(host); err != nil {
			return err
		}
	}
	for _, address := range who.addresses {
		if err := certificate.VerifyHostname(address.String()); err != nil {
			return err
		}
	}
	return nil
}

func (s subject) usage() x509.ExtKeyUsage {
	if s.server {
		return x509.ExtKeyUsageServerAuth
	}
	return x509.ExtKeyUsageClientAuth
}

func ensureServiceAccountKey(keyPath, pubPath string) error {
	keyPEM, err := os.ReadFile(keyPath)
	var key *ecdsa.PrivateKey
	switch {
	case err == nil:
		if key, err = parseKey(keyPEM); err != nil {
			return fmt.Errorf("failed to read the existing service account key: %w", err)
		}
	case errors.Is(err, fs.ErrNotExist):
		if key, err = newKey(); err != nil {
			return err
		}
		if err := writeKey(keyPath, key); err != nil {
			return err
		}
	default:
		return fmt.Errorf("failed to read the existing service account key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("failed to encode the service account key: %w", err)
	}
	return writeChanged(pubPath, encode("PUBLIC KEY", der), 0o644)
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("failed to make a key: %w", err)
	}
	return key, nil
}

func newTemplate(name string, groups []string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("failed to make a serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name, Organization: groups},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(lifetime),
	}, nil
}

func parsePair(certPEM, keyPEM []byte) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return nil, nil, errors.New("failed to find a certificate in the file")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to read the certificate: %w", err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, nil, err
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, nil, errors.New("failed to match the key to the certificate")
	}
	return certificate, key, nil
}

func parseKey(keyPEM []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, errors.New("failed to find a key in the file")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("failed to read the key: %w", err)
	}
	return key, nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
