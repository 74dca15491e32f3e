package device;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

import com.mbed.coap.client.CoapClient;
import com.mbed.coap.packet.BlockSize;
import com.mbed.coap.packet.CoapRequest;
import com.mbed.coap.packet.CoapResponse;
import com.mbed.coap.packet.Code;
import com.mbed.coap.packet.MediaTypes;
import com.mbed.coap.server.CoapServer;
import com.mbed.coap.server.RouterService;
import com.mbed.coap.utils.Service;

/**
 * A LwM2M 1.0 device on java-coap: it bootstraps, registers, and de-registers at the end of its standard input.
 *
 * <p>Arguments: endpoint name, bootstrap URI, and in DER the files of its bootstrap certificate, its key
 * (PKCS #8) and the CA of the bootstrap server.
 */
public final class JavaCoapDevice {

    private static final long STEP_SECONDS = 20;

    private final String endpointName;

    private JavaCoapDevice(String endpointName) {
        this.endpointName = endpointName;
    }

    public static void main(String[] arguments) throws Exception {
        var factory = Credential.of(
                Files.readAllBytes(Path.of(arguments[2])),
                Files.readAllBytes(Path.of(arguments[3])),
                Files.readAllBytes(Path.of(arguments[4])));
        var device = new JavaCoapDevice(arguments[0]);
        var bootstrap = new Bootstrap(JavaCoapDevice::say);
        if (device.bootstrap(arguments[1], factory, bootstrap)) {
            device.register(bootstrap.serverUri(), bootstrap.credential());
        }
        // java-coap's timers and Scandium's threads would outlive it.
        System.exit(0);
    }

    private boolean bootstrap(String uri, Credential credential, Bootstrap handler) throws Exception {
        var transport = new DtlsTransport(credential);
        try (var client = connect(uri, transport, handler)) {
            var response = client.sendSync(CoapRequest.post("/bs").query("ep", endpointName));
            if (response.getCode() != Code.C204_CHANGED) {
                refused("bootstrap", response);
                return false;
            }
            handler.finished().get(STEP_SECONDS, TimeUnit.SECONDS);
            // The server closes when it has seen the answer to Finish; a device that left earlier could lose it.
            transport.closedByPeer().get(STEP_SECONDS, TimeUnit.SECONDS);
        }
        say("bootstrapped");
        return true;
    }

    private void register(String uri, Credential credential) throws Exception {
        try (var client = connect(uri, new DtlsTransport(credential), RouterService.NOT_FOUND_SERVICE)) {
            var response = client.sendSync(CoapRequest.post("/rd")
                    .query("ep", endpointName).query("lt", "3600").query("lwm2m", "1.0").query("b", "U")
                    .payload("</1/0>,</3/0>", MediaTypes.CT_APPLICATION_LINK__FORMAT));
            if (response.getCode() != Code.C201_CREATED) {
                refused("registration", response);
                return;
            }
            var location = response.options().getLocationPath();
            say("registered " + location);

            System.in.readAllBytes();
            response = client.sendSync(CoapRequest.delete(location));
            if (response.getCode() == Code.C202_DELETED) {
                say("deregistered");
            } else {
                refused("deregistration", response);
            }
        }
    }

    private static CoapClient connect(
            String uri, DtlsTransport transport, Service<CoapRequest, CoapResponse> requests) throws IOException {
        var server = CoapServer.builder()
                .transport(transport).blockSize(BlockSize.S_256).route(requests).build().start();
        var location = URI.create(uri);
        return CoapClient.create(new InetSocketAddress(location.getHost(), location.getPort()), server);
    }

    private static void refused(String step, CoapResponse response) {
        say(String.format("%s-refused %s %s", step, code(response.getCode()), response.getPayloadString()));
    }

    private static String code(Code code) {
        return String.format("%d.%02d", code.getCoapCode() >> 5, code.getCoapCode() & 0x1f);
    }

    private static void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
