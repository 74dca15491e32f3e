package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"

	"github.com/pion/dtls/v3"
	coap "github.com/plgd-dev/go-coap/v3/dtls"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/message/pool"
	"github.com/plgd-dev/go-coap/v3/mux"
	"github.com/plgd-dev/go-coap/v3/options"
	"github.com/plgd-dev/go-coap/v3/udp/client"
)

// Resources of LwM2M Security (LwM2M 1.0 TS, E.1).
const (
	serverURI       = 0
	bootstrapServer = 1
	publicKey       = 3
	serverPublicKey = 4
	secretKey       = 5
)

const tlvFormat = 11542

// onboard claims the device and registers it; told holds what came about, also when it fails.
func onboard(ctx context.Context, endpoint, server string, offer []dtls.ClientOption, told *report) error {
	device := &device{finished: make(chan error, 1)}
	defer func() { told.Requests = device.requests }()

	connection, err := connect(ctx, server, offer, device)
	if err != nil {
		return err
	}
	defer connection.Close()
	state, _ := connection.NetConn().(*dtls.Conn).ConnectionState()
	told.Suite = state.CipherSuiteID.String()

	response, err := post(ctx, connection, "/bs", nil, "ep="+endpoint)
	if err != nil {
		return err
	}
	told.Answer = answer(response)
	if response.Code() != codes.Changed {
		return nil
	}
	select {
	case err := <-device.finished:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return errors.New("no Bootstrap-Finish")
	}
	// The server closes when it has seen the answer to Finish; a device that left earlier could lose it.
	select {
	case <-connection.Done():
	case <-ctx.Done():
		return errors.New("the bootstrap server did not close")
	}
	return device.register(ctx, endpoint, told)
}

func connect(ctx context.Context, server string, offer []dtls.ClientOption, handler mux.Handler) (*client.Conn, error) {
	address, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		return nil, err
	}
	connection, err := dtls.DialWithOptions("udp", address, offer...)
	if err != nil {
		return nil, err
	}
	if err := connection.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, connection.Close())
	}
	return coap.Client(connection, options.WithMux(handler), options.WithCloseSocket()), nil
}

func post(
	ctx context.Context, connection *client.Conn, path string, payload []byte, queries ...string,
) (*pool.Message, error) {
	request, err := connection.NewPostRequest(ctx, path, message.AppLinkFormat, bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	for _, query := range queries {
		request.AddQuery(query)
	}
	return connection.Do(request)
}

func answer(response *pool.Message) string {
	text, err := response.ReadBody()
	if err != nil {
		text = []byte(err.Error())
	}
	code := response.Code()
	return strings.TrimSpace(fmt.Sprintf("%d.%02d %s", code>>5, code&0x1f, text))
}

// device is the object tree of a device that is being bootstrapped: its Security instances, by path.
type device struct {
	mutex    sync.Mutex
	requests []string
	security map[string]map[uint16][]byte
	finished chan error // nil after Bootstrap-Finish, or why there will be none
}

// ServeCOAP is the device's side of the bootstrap interface, without Bootstrap-Discover.
func (d *device) ServeCOAP(w mux.ResponseWriter, r *mux.Message) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	path, _ := r.Path()
	d.requests = append(d.requests, fmt.Sprintf("%s %s", r.Code(), path))
	code := codes.MethodNotAllowed
	switch {
	case r.Code() == codes.DELETE:
		d.security = map[string]map[uint16][]byte{}
		code = codes.Deleted
	case r.Code() == codes.PUT:
		code = d.write(path, r)
	case r.Code() == codes.POST && path == "/bs":
		d.end(nil)
		code = codes.Changed
	}
	if code == codes.BadRequest || code == codes.UnsupportedMediaType {
		d.end(fmt.Errorf("%s %s is not understood", r.Code(), path))
	}
	if err := w.SetResponse(code, message.TextPlain, nil); err != nil {
		panic(err)
	}
}

// end says once that no more requests are to come.
func (d *device) end(reason error) {
	select {
	case d.finished <- reason:
	default:
	}
}

func (d *device) write(path string, r *mux.Message) codes.Code {
	format, err := r.ContentFormat()
	if err != nil || format != tlvFormat {
		return codes.UnsupportedMediaType
	}
	body, err := r.ReadBody()
	if err != nil {
		return codes.BadRequest
	}
	resources, err := parseTLV(body)
	if err != nil {
		return codes.BadRequest
	}
	if strings.HasPrefix(path, "/0/") {
		d.security[path] = resources
	}
	return codes.Changed
}

// register uses the LwM2M account that the bootstrap left.
func (d *device) register(ctx context.Context, endpoint string, told *report) error {
	for _, security := range d.security {
		if bytes.Equal(security[bootstrapServer], []byte{1}) {
			continue
		}
		uri, err := url.Parse(string(security[serverURI]))
		if err != nil {
			return err
		}
		offer, err := credential(security)
		if err != nil {
			return err
		}
		connection, err := connect(ctx, uri.Host, offer, mux.NewRouter())
		if err != nil {
			return err
		}
		defer connection.Close()
		response, err := post(
			ctx, connection, "/rd", []byte("</1/0>,</3/0>"), "ep="+endpoint, "lt=3600", "lwm2m=1.0", "b=U")
		if err != nil {
			return err
		}
		told.RegisterAnswer = answer(response)
		told.RegisterLocation, err = response.Options().LocationPath()
		return err
	}
	return errors.New("no LwM2M account was written")
}

func credential(security map[uint16][]byte) ([]dtls.ClientOption, error) {
	server, err := x509.ParseCertificate(security[serverPublicKey])
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(server)
	key, err := x509.ParsePKCS8PrivateKey(security[secretKey])
	if err != nil {
		return nil, err
	}
	return clientOptions(roots, tls.Certificate{Certificate: [][]byte{security[publicKey]}, PrivateKey: key}), nil
}
