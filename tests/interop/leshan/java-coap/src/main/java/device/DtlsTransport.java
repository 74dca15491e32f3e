package device;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.security.cert.Certificate;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;

import org.eclipse.californium.elements.AddressEndpointContext;
import org.eclipse.californium.elements.EndpointContext;
import org.eclipse.californium.elements.MessageCallback;
import org.eclipse.californium.elements.RawData;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.scandium.DTLSConnector;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.config.DtlsConfig.DtlsRole;
import org.eclipse.californium.scandium.config.DtlsConnectorConfig;
import org.eclipse.californium.scandium.dtls.CertificateType;
import org.eclipse.californium.scandium.dtls.x509.SingleCertificateProvider;
import org.eclipse.californium.scandium.dtls.x509.StaticCertificateVerifier;

import com.mbed.coap.exception.CoapException;
import com.mbed.coap.packet.CoapPacket;
import com.mbed.coap.packet.CoapSerializer;
import com.mbed.coap.transport.CoapTransport;

/** Scandium's DTLS under java-coap. The first packet to a server starts the handshake. */
final class DtlsTransport implements CoapTransport {

    private final DTLSConnector connector;
    private final BlockingQueue<RawData> received = new LinkedBlockingQueue<>();
    private final ExecutorService reader = Executors.newSingleThreadExecutor();
    private final CompletableFuture<Void> closedByPeer = new CompletableFuture<>();

    DtlsTransport(Credential credential) {
        DtlsConfig.register();
        var config = DtlsConnectorConfig.builder(new Configuration());
        config.set(DtlsConfig.DTLS_ROLE, DtlsRole.CLIENT_ONLY);
        config.setCertificateIdentityProvider(new SingleCertificateProvider(
                credential.key(), new Certificate[] {credential.certificate()}, CertificateType.X_509));
        config.setCertificateVerifier(
                StaticCertificateVerifier.builder().setTrustedCertificates(credential.ca()).build());
        connector = new DTLSConnector(config.build());
        connector.setRawDataReceiver(received::add);
        connector.setAlertHandler((peer, alert) -> closedByPeer.complete(null));
    }

    /** Done when the server has ended the association. */
    CompletableFuture<Void> closedByPeer() {
        return closedByPeer;
    }

    @Override
    public void start() throws IOException {
        connector.start();
    }

    @Override
    public void stop() {
        reader.shutdownNow();
        connector.destroy();
    }

    @Override
    public InetSocketAddress getLocalSocketAddress() {
        return connector.getAddress();
    }

    @Override
    public CompletableFuture<Boolean> sendPacket(CoapPacket packet) {
        var sent = new Sent();
        var peer = new AddressEndpointContext(packet.getRemoteAddress());
        connector.send(RawData.outbound(CoapSerializer.serialize(packet), peer, sent, false));
        return sent.result;
    }

    @Override
    public CompletableFuture<CoapPacket> receive() {
        return CompletableFuture.supplyAsync(this::take, reader);
    }

    private CoapPacket take() {
        try {
            var data = received.take();
            return CoapSerializer.deserialize(data.getInetSocketAddress(), data.getBytes());
        } catch (InterruptedException | CoapException error) {
            throw new CompletionException(error);
        }
    }

    /** Tells java-coap what became of a packet. */
    private static final class Sent implements MessageCallback {

        private final CompletableFuture<Boolean> result = new CompletableFuture<>();

        @Override
        public void onSent() {
            result.complete(true);
        }

        @Override
        public void onError(Throwable error) {
            result.completeExceptionally(error);
        }

        @Override
        public void onConnecting() {
            // The handshake's outcome is told by the other methods.
        }

        @Override
        public void onDtlsRetransmission(int flight) {
            // Scandium sends the flight again by itself.
        }

        @Override
        public void onContextEstablished(EndpointContext context) {
            // onSent follows.
        }
    }
}
