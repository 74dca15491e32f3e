package device;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

import org.eclipse.californium.scandium.config.DtlsConnectorConfig;
import org.eclipse.leshan.client.californium.LeshanClientBuilder;
import org.eclipse.leshan.client.object.Device;
import org.eclipse.leshan.client.object.Security;
import org.eclipse.leshan.client.object.Server;
import org.eclipse.leshan.client.observer.LwM2mClientObserverAdapter;
import org.eclipse.leshan.client.resource.ObjectsInitializer;
import org.eclipse.leshan.client.servers.ServerIdentity;
import org.eclipse.leshan.core.LwM2mId;
import org.eclipse.leshan.core.ResponseCode;
import org.eclipse.leshan.core.request.BootstrapRequest;
import org.eclipse.leshan.core.request.DeregisterRequest;
import org.eclipse.leshan.core.request.RegisterRequest;
import org.eclipse.leshan.core.request.UpdateRequest;

/**
 * A device on Leshan 1, which speaks LwM2M 1.0.
 *
 * <p>Arguments: endpoint name, bootstrap URI, and in DER the files of its bootstrap certificate, its key
 * (PKCS #8) and the bootstrap server's own certificate: this client knows no other certificate usage.
 */
public final class Lwm2m10Device {

    private Lwm2m10Device() {
    }

    public static void main(String[] arguments) throws Exception {
        var certificate = Files.readAllBytes(Path.of(arguments[2]));
        var key = Files.readAllBytes(Path.of(arguments[3]));
        var server = Files.readAllBytes(Path.of(arguments[4]));

        var objects = new ObjectsInitializer();
        objects.setInstancesForObject(
                LwM2mId.SECURITY, Security.x509Bootstrap(arguments[1], certificate, key, server));
        objects.setClassForObject(LwM2mId.SERVER, Server.class);
        objects.setInstancesForObject(LwM2mId.DEVICE, new Device("Leshan", "1.5.0", arguments[0], "U"));

        // Else it wants a certificate with which it could be a DTLS server as well.
        var dtls = new DtlsConnectorConfig.Builder();
        dtls.setClientOnly();

        var builder = new LeshanClientBuilder(arguments[0]);
        builder.setObjects(objects.createAll());
        builder.setDtlsConfig(dtls);
        var client = builder.build();
        client.addObserver(new Events());

        client.start();
        // "update" on standard input updates the registration; the end of the input de-registers.
        try (var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII))) {
            for (var line = input.readLine(); line != null; line = input.readLine()) {
                if (line.equals("update")) {
                    client.triggerRegistrationUpdate();
                } else {
                    throw new IllegalArgumentException(line);
                }
            }
        }
        client.destroy(true);
    }

    /** Prints one line for each thing that happened: a word, then what the server said. */
    private static final class Events extends LwM2mClientObserverAdapter {

        @Override
        public void onBootstrapSuccess(ServerIdentity server, BootstrapRequest request) {
            say("bootstrapped");
        }

        @Override
        public void onBootstrapFailure(ServerIdentity server, BootstrapRequest request, ResponseCode code,
                String message, Exception cause) {
            failed("bootstrap", code, message, cause);
        }

        @Override
        public void onBootstrapTimeout(ServerIdentity server, BootstrapRequest request) {
            say("bootstrap-failed timeout");
        }

        @Override
        public void onRegistrationSuccess(ServerIdentity server, RegisterRequest request, String location) {
            say("registered " + location);
        }

        @Override
        public void onRegistrationFailure(ServerIdentity server, RegisterRequest request, ResponseCode code,
                String message, Exception cause) {
            failed("registration", code, message, cause);
        }

        @Override
        public void onRegistrationTimeout(ServerIdentity server, RegisterRequest request) {
            say("registration-failed timeout");
        }

        @Override
        public void onUpdateSuccess(ServerIdentity server, UpdateRequest request) {
            say("updated");
        }

        @Override
        public void onUpdateFailure(ServerIdentity server, UpdateRequest request, ResponseCode code, String message,
                Exception cause) {
            failed("update", code, message, cause);
        }

        @Override
        public void onDeregistrationSuccess(ServerIdentity server, DeregisterRequest request) {
            say("deregistered");
        }

        private static void failed(String step, ResponseCode code, String message, Exception cause) {
            if (code == null) {
                say(step + "-failed " + cause);
            } else {
                say(String.format("%s-refused %d.%02d %s", step, code.getCode() / 100, code.getCode() % 100, message));
            }
        }

        private static void say(String line) {
            System.out.println(line);
            System.out.flush();
        }
    }
}
