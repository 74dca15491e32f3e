package server;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.cert.Certificate;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.List;

import org.eclipse.leshan.core.SecurityMode;
import org.eclipse.leshan.server.bootstrap.BootstrapConfig;
import org.eclipse.leshan.server.bootstrap.BootstrapConfig.ServerConfig;
import org.eclipse.leshan.server.bootstrap.BootstrapConfig.ServerSecurity;
import org.eclipse.leshan.server.californium.bootstrap.LeshanBootstrapServerBuilder;
import org.eclipse.leshan.server.security.BootstrapSecurityStore;
import org.eclipse.leshan.server.security.SecurityInfo;

/**
 * A bootstrap server on Leshan 1.5: every device of the trusted CA gets the same two accounts.
 *
 * <p>Arguments: port on 127.0.0.1; in DER the files of its certificate, its key (PKCS #8) and the CA of its
 * devices; and those of the client certificate, key and server CA that devices are given. Says "ready" once it
 * listens, and ends with its standard input.
 */
public final class BootstrapServer {

    private BootstrapServer() {
    }

    public static void main(String[] arguments) throws Exception {
        var address = new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0]));
        var key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(read(arguments[2])));
        var given = account(read(arguments[4]), read(arguments[5]), read(arguments[6]));

        var builder = new LeshanBootstrapServerBuilder();
        builder.setPrivateKey(key);
        builder.setCertificateChain(new X509Certificate[] {certificate(read(arguments[1]))});
        builder.setTrustedCertificates(new Certificate[] {certificate(read(arguments[3]))});
        builder.setSecurityStore(new AnyDevice());
        builder.setConfigStore((endpoint, identity, session) -> given);
        builder.setLocalSecureAddress(address);
        builder.disableUnsecuredEndpoint();
        var server = builder.build();
        server.start();
        System.out.println("ready");
        System.in.transferTo(System.out);
        server.destroy();
    }

    /** What First-to-Claim does, too: Delete /0, Write /0/0, /0/1 and /1/0, Finish; Leshan 1 knows TLV alone. */
    private static BootstrapConfig account(byte[] certificate, byte[] key, byte[] serverCa) {
        var config = new BootstrapConfig();
        config.toDelete = List.of("/0");
        config.security.put(0, security("coaps://localhost:5684", false, certificate, key, serverCa));
        config.security.put(1, security("coaps://localhost:5784", true, certificate, key, serverCa));
        var server = new ServerConfig();
        server.shortId = 1;
        config.servers.put(0, server);
        return config;
    }

    private static ServerSecurity security(
            String uri, boolean bootstrap, byte[] certificate, byte[] key, byte[] serverCa) {
        var security = new ServerSecurity();
        security.uri = uri;
        security.bootstrapServer = bootstrap;
        security.securityMode = SecurityMode.X509;
        security.publicKeyOrId = certificate;
        security.secretKey = key;
        security.serverPublicKey = serverCa;
        security.serverId = bootstrap ? null : 1;
        return security;
    }

    private static X509Certificate certificate(byte[] der) throws CertificateException {
        var factory = CertificateFactory.getInstance("X.509");
        return (X509Certificate) factory.generateCertificate(new ByteArrayInputStream(der));
    }

    private static byte[] read(String file) throws IOException {
        return Files.readAllBytes(Path.of(file));
    }

    /** Whoever comes with a certificate of the trusted CA is welcome under its own name. */
    private static final class AnyDevice implements BootstrapSecurityStore {

        @Override
        public List<SecurityInfo> getAllByEndpoint(String endpoint) {
            return List.of(SecurityInfo.newX509CertInfo(endpoint));
        }

        @Override
        public SecurityInfo getByIdentity(String pskIdentity) {
            return null;
        }
    }
}
