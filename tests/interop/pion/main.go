// Command pion-device is a LwM2M 1.0 device on pion/dtls and plgd-dev/go-coap.
//
// It bootstraps with the credential that its flags name, registers with the credential that it was given, and
// prints one JSON object that tells how far it came. Its flags also choose what its DTLS offers.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/pion/dtls/v3"
)

// report is what is printed: empty fields are things that did not come about.
type report struct {
	Suite            string   `json:"suite"`             // of the bootstrap's handshake
	Answer           string   `json:"answer"`            // to the Bootstrap-Request: code and text
	Requests         []string `json:"requests"`          // what the bootstrap server asked for
	RegisterAnswer   string   `json:"register_answer"`   // to Register: code and text
	RegisterLocation string   `json:"register_location"` // "rd/…"
	Error            string   `json:"error"`             // why it went no further
}

var suites = map[string]dtls.CipherSuiteID{
	"CCM":       dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM,
	"CCM_8":     dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8,
	"GCM":       dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	"GCM_256":   dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	"CBC_SHA":   dtls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	"CHACHA20":  dtls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	"RSA_GCM":   dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	"PSK_CCM_8": dtls.TLS_PSK_WITH_AES_128_CCM_8,
}

var extendedSecrets = map[string]dtls.ExtendedMasterSecretType{
	"request": dtls.RequestExtendedMasterSecret,
	"require": dtls.RequireExtendedMasterSecret,
	"disable": dtls.DisableExtendedMasterSecret,
}

func main() {
	endpoint := flag.String("endpoint", "", "endpoint name")
	server := flag.String("server", "", "bootstrap server, host:port")
	ca := flag.String("ca", "", "the server's CA, PEM")
	certificate := flag.String("certificate", "", "bootstrap certificate and what stands above it, PEM")
	key := flag.String("key", "", "its key, PEM")
	suite := flag.String("suite", "", "the one cipher suite to offer; default: pion's own list")
	mtu := flag.Int("mtu", 0, "bytes in a datagram; default: pion's")
	extendedSecret := flag.String("extended-secret", "request", "RFC 7627: request, require or disable")
	connectionID := flag.Bool("connection-id", false, "offer RFC 9146")
	flag.Parse()

	options, err := dtlsOptions(*ca, *certificate, *key)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	options = append(options, dtls.WithExtendedMasterSecret(extendedSecrets[*extendedSecret]))
	if *suite != "" {
		options = append(options, dtls.WithCipherSuites(suites[*suite]))
	}
	if *mtu != 0 {
		options = append(options, dtls.WithMTU(*mtu))
	}
	if *connectionID {
		options = append(options, dtls.WithConnectionIDGenerator(dtls.RandomCIDGenerator(8)))
	}

	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	var told report
	if err := onboard(ctx, *endpoint, *server, options, &told); err != nil {
		told.Error = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		panic(err)
	}
}

func dtlsOptions(ca, certificate, key string) ([]dtls.ClientOption, error) {
	authority, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, errors.New(ca + " holds no certificate")
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	return clientOptions(roots, pair), nil
}

func clientOptions(roots *x509.CertPool, pair tls.Certificate) []dtls.ClientOption {
	return []dtls.ClientOption{
		dtls.WithRootCAs(roots),
		dtls.WithServerName("localhost"),
		dtls.WithCertificates(pair),
	}
}
