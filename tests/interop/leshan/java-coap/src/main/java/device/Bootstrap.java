package device;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;

import org.eclipse.leshan.core.tlv.Tlv;
import org.eclipse.leshan.core.tlv.TlvDecoder;
import org.eclipse.leshan.core.tlv.TlvException;

import com.mbed.coap.packet.Code;
import com.mbed.coap.packet.CoapRequest;
import com.mbed.coap.packet.CoapResponse;
import com.mbed.coap.packet.MediaTypes;
import com.mbed.coap.packet.Method;
import com.mbed.coap.utils.Service;

/** The device's side of the bootstrap interface of LwM2M 1.0 (TS 5.2), which has no Discover. */
final class Bootstrap implements Service<CoapRequest, CoapResponse> {

    // Resources of LwM2M Security (LwM2M 1.0 TS, E.1).
    private static final int SERVER_URI = 0;
    private static final int BOOTSTRAP_SERVER = 1;
    private static final int PUBLIC_KEY = 3;
    private static final int SERVER_PUBLIC_KEY = 4;
    private static final int SECRET_KEY = 5;

    private final Map<String, Map<Integer, byte[]>> security = new ConcurrentHashMap<>();
    private final CompletableFuture<Void> finished = new CompletableFuture<>();
    private final Consumer<String> seen;

    /** {@code seen} is told of every request, as "PUT /0/0 in blocks of 256", before it is answered. */
    Bootstrap(Consumer<String> seen) {
        this.seen = seen;
    }

    /** Done at Bootstrap-Finish. */
    CompletableFuture<Void> finished() {
        return finished;
    }

    @Override
    public CompletableFuture<CoapResponse> apply(CoapRequest request) {
        var path = request.options().getUriPath();
        // java-coap has put the body together, and leaves the Block1 option of the last block.
        var block = request.options().getBlock1Req();
        seen.accept(request.getMethod() + " " + path + (block == null ? "" : " in blocks of " + block.getSize()));
        return CompletableFuture.completedFuture(CoapResponse.of(answer(request, path)));
    }

    private Code answer(CoapRequest request, String path) {
        if (request.getMethod() == Method.DELETE) {
            security.clear();
            return Code.C202_DELETED;
        }
        if (request.getMethod() == Method.PUT) {
            return write(request, path);
        }
        if (request.getMethod() == Method.POST && path.equals("/bs")) {
            finished.complete(null);
            return Code.C204_CHANGED;
        }
        return Code.C405_METHOD_NOT_ALLOWED;
    }

    private Code write(CoapRequest request, String path) {
        var format = request.options().getContentFormat();
        if (format == null || format != MediaTypes.CT_APPLICATION_LWM2M_TLV) {
            return Code.C415_UNSUPPORTED_MEDIA_TYPE;
        }
        var resources = new TreeMap<Integer, byte[]>();
        try {
            for (Tlv resource : TlvDecoder.decode(ByteBuffer.wrap(request.getPayload().getBytes()))) {
                resources.put(resource.getIdentifier(), resource.getValue());
            }
        } catch (TlvException malformed) {
            return Code.C400_BAD_REQUEST;
        }
        if (path.startsWith("/0/")) {
            security.put(path, resources);
        }
        return Code.C204_CHANGED;
    }

    /** The URI of the LwM2M server that was written. */
    String serverUri() {
        return new String(lwm2mAccount().get(SERVER_URI), StandardCharsets.UTF_8);
    }

    /** The credential for the LwM2M server that was written. */
    Credential credential() throws GeneralSecurityException {
        var account = lwm2mAccount();
        return Credential.of(account.get(PUBLIC_KEY), account.get(SECRET_KEY), account.get(SERVER_PUBLIC_KEY));
    }

    private Map<Integer, byte[]> lwm2mAccount() {
        return security.values().stream()
                .filter(resources -> !Arrays.equals(resources.get(BOOTSTRAP_SERVER), new byte[] {1}))
                .findFirst()
                .orElseThrow(() -> new NoSuchElementException("no LwM2M account was written"));
    }
}
