package device;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

import org.eclipse.leshan.client.LeshanClientBuilder;
import org.eclipse.leshan.client.engine.DefaultRegistrationEngineFactory;
import org.eclipse.leshan.client.object.Device;
import org.eclipse.leshan.client.object.Security;
import org.eclipse.leshan.client.object.Server;
import org.eclipse.leshan.client.observer.LwM2mClientObserverAdapter;
import org.eclipse.leshan.client.resource.ObjectsInitializer;
import org.eclipse.leshan.client.servers.LwM2mServer;
import org.eclipse.leshan.core.CertificateUsage;
import org.eclipse.leshan.core.LwM2mId;
import org.eclipse.leshan.core.ResponseCode;
import org.eclipse.leshan.core.request.BootstrapRequest;
import org.eclipse.leshan.core.request.ContentFormat;
import org.eclipse.leshan.core.request.DeregisterRequest;
import org.eclipse.leshan.core.request.RegisterRequest;
import org.eclipse.leshan.core.request.UpdateRequest;
import org.eclipse.leshan.transport.californium.client.endpoint.CaliforniumClientEndpointsProvider;
import org.eclipse.leshan.transport.californium.client.endpoint.coaps.CoapsClientProtocolProvider;

/**
 * A device on Leshan 2, which speaks LwM2M 1.1.
 *
 * <p>Arguments: endpoint name, bootstrap URI, and in DER the files of its bootstrap certificate, its key
 * (PKCS #8) and the CA of the bootstrap server; then, if Leshan's own choice is not wanted, the number of the
 * content format that it asks for.
 */
public final class Lwm2m11Device {

    private Lwm2m11Device() {
    }

    public static void main(String[] arguments) throws Exception {
        var certificate = Files.readAllBytes(Path.of(arguments[2]));
        var key = Files.readAllBytes(Path.of(arguments[3]));
        var ca = Files.readAllBytes(Path.of(arguments[4]));

        var objects = new ObjectsInitializer();
        objects.setInstancesForObject(LwM2mId.SECURITY, Security.x509Bootstrap(
                arguments[1], certificate, key, ca, CertificateUsage.TRUST_ANCHOR_ASSERTION.code));
        objects.setClassForObject(LwM2mId.SERVER, Server.class);
        objects.setInstancesForObject(LwM2mId.DEVICE, new Device("Leshan", "2.0.0-M18", arguments[0]));

        var engine = new DefaultRegistrationEngineFactory();
        if (arguments.length > 5) {
            engine.setPreferredContentFormat(ContentFormat.fromCode(arguments[5]));
        }

        var californium = new CaliforniumClientEndpointsProvider.Builder(new CoapsClientProtocolProvider());
        californium.setConfiguration(californium.createDefaultConfiguration());

        var builder = new LeshanClientBuilder(arguments[0]);
        builder.setObjects(objects.createAll());
        builder.setRegistrationEngineFactory(engine);
        builder.setEndpointsProviders(californium.build());
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
        public void onBootstrapSuccess(LwM2mServer server, BootstrapRequest request) {
            say("bootstrapped");
        }

        @Override
        public void onBootstrapFailure(LwM2mServer server, BootstrapRequest request, ResponseCode code,
                String message, Exception cause) {
            failed("bootstrap", code, message, cause);
        }

        @Override
        public void onBootstrapTimeout(LwM2mServer server, BootstrapRequest request) {
            say("bootstrap-failed timeout");
        }

        @Override
        public void onRegistrationSuccess(LwM2mServer server, RegisterRequest request, String location) {
            say("registered " + location);
        }

        @Override
        public void onRegistrationFailure(LwM2mServer server, RegisterRequest request, ResponseCode code,
                String message, Exception cause) {
            failed("registration", code, message, cause);
        }

        @Override
        public void onRegistrationTimeout(LwM2mServer server, RegisterRequest request) {
            say("registration-failed timeout");
        }

        @Override
        public void onUpdateSuccess(LwM2mServer server, UpdateRequest request) {
            say("updated");
        }

        @Override
        public void onUpdateFailure(LwM2mServer server, UpdateRequest request, ResponseCode code, String message,
                Exception cause) {
            failed("update", code, message, cause);
        }

        @Override
        public void onDeregistrationSuccess(LwM2mServer server, DeregisterRequest request) {
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
