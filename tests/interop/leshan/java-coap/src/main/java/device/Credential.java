package device;

import java.io.ByteArrayInputStream;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;

/** What a device shows to a server, and the CA that it trusts there. */
record Credential(Certificate certificate, PrivateKey key, Certificate ca) {

    /** All in DER, the key an elliptic-curve key in PKCS #8. */
    static Credential of(byte[] certificate, byte[] key, byte[] ca) throws GeneralSecurityException {
        var factory = CertificateFactory.getInstance("X.509");
        return new Credential(
                factory.generateCertificate(new ByteArrayInputStream(certificate)),
                KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(key)),
                factory.generateCertificate(new ByteArrayInputStream(ca)));
    }
}
