package main

import (
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
)

// A control plane lives for minutes, but tests move the clock of the controller
// by days: these certificates must not be what breaks then.
const validity = 365 * 24 * time.Hour

// pki is every key and certificate of one control plane, as file names.
type pki struct {
	caCert                       string
	serverCert, serverKey        string
	adminCert, adminKey          string
	proxyCA                      string
	proxyCert, proxyKey          string
	accountKey, accountPublic    string
	caPEM, adminPEM, adminKeyPEM []byte
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// generatePKI makes new keys below dir.
func generatePKI(dir string) (*pki, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	made := &pki{
		caCert:     file("ca.crt"),
		serverCert: file("apiserver.crt"), serverKey: file("apiserver.key"),
		adminCert: file("admin.crt"), adminKey: file("admin.key"),
		proxyCA:   file("front-proxy-ca.crt"),
		proxyCert: file("front-proxy.crt"), proxyKey: file("front-proxy.key"),
		accountKey: file("service-account.key"), accountPublic: file("service-account.pub"),
	}

	ca, err := newAuthority("webhook-tests", made.caCert)
	if err != nil {
		return nil, err
	}
	err = ca.issue(made.serverCert, made.serverKey, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local",
		},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(apiServiceIP)},
	})
	if err != nil {
		return nil, err
	}
	err = ca.issue(made.adminCert, made.adminKey, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "webhook-tests-admin", Organization: []string{"system:masters"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, err
	}

	// The aggregation layer insists on an authority of its own.
	proxy, err := newAuthority("webhook-tests-front-proxy", made.proxyCA)
	if err != nil {
		return nil, err
	}
	err = proxy.issue(made.proxyCert, made.proxyKey, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "front-proxy-client"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, err
	}

	account, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if err := writeKey(made.accountKey, account); err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&account.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := writePEM(made.accountPublic, "PUBLIC KEY", public); err != nil {
		return nil, err
	}

	for path, content := range map[string]*[]byte{
		made.caCert: &made.caPEM, made.adminCert: &made.adminPEM, made.adminKey: &made.adminKeyPEM,
	} {
		if *content, err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// newAuthority makes a self-signed CA; its key is never written.
func newAuthority(name, path string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := sign(template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key}, writePEM(path, "CERTIFICATE", der)
}

func (a *authority) issue(certPath, keyPath string, template *x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := sign(template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return err
	}
	if err := writePEM(certPath, "CERTIFICATE", der); err != nil {
		return err
	}
	return writeKey(keyPath, key)
}

func sign(template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-validity)
	template.NotAfter = time.Now().Add(validity)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", template.Subject.CommonName, err)
	}
	return der, nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "EC PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
