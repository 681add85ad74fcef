// SPDX-License-Identifier: Apache-2.0 OR MIT

import io.aeron.Aeron;
import io.aeron.CommonContext;
import io.aeron.ExclusivePublication;
import io.aeron.Image;
import io.aeron.ImageFragmentAssembler;
import io.aeron.Publication;
import io.aeron.Subscription;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;
import io.aeron.logbuffer.BufferClaim;
import io.aeron.logbuffer.FragmentHandler;
import io.aeron.logbuffer.Header;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.agrona.BitUtil;
import org.agrona.DirectBuffer;
import org.agrona.IoUtil;
import org.agrona.MutableDirectBuffer;
import org.agrona.concurrent.AgentInvoker;
import org.agrona.concurrent.BackoffIdleStrategy;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * Aeron IPC as a peer of the comparison (../compare.c). It cannot be a shared object, so it does its own scenarios, as
 * compare.c does them:
 *
 * <pre>
 * latency --bytes N --touch line|full --seconds S --cpus A,B [--sleep] [--folder DIR]
 * stream --bytes N --seconds S --cpus A,B [--folder DIR]
 * </pre>
 *
 * The first JVM, pinned to A by ./run, starts the second, pinned to B. Standard output: one line of JSON. The embedded
 * media driver and the clients' conductors have no threads (ThreadingMode.INVOKER): on a machine of two CPUs any
 * further thread takes time from one of the two that are measured (ThreadingMode.SHARED measured slower streams and the
 * same latency). The first JVM's thread runs the driver about once a millisecond and whenever its publication is
 * back-pressured.
 */
public final class AeronPeer {
    private static final int STREAM_THERE = 1001;
    private static final int STREAM_BACK = 1002;
    private static final long WARM_UP_NS = TimeUnit.SECONDS.toNanos(3);
    private static final long FULL_MAX = 64 * 1024; // of stream: larger messages are not read and written in full
    private static final long START = 1L << 62; // of a stream's sequence number: first measured message
    private static final long END = 1L << 63; // last message
    private static final long STEP = 0x9e3779b97f4a7c15L;
    private static final int MTU = 65504; // the largest that Aeron allows
    private static final int TERM = 64 << 20; // Aeron's default; shorter ones were slower

    private final boolean latency;
    private final int bytes;
    private final boolean full;
    private final double seconds;
    private final String[] cpus;
    private final boolean sleep;
    private final String folder;

    private MediaDriver driver;
    private AgentInvoker driverInvoker;
    private AgentInvoker clientInvoker;
    private Aeron aeron;
    private ExclusivePublication publication;
    private Subscription subscription;
    private Image image;
    private FragmentHandler handler;
    private int fragmentLimit = 1;
    private final BufferClaim claim = new BufferClaim();
    private UnsafeBuffer large;
    private IdleStrategy idle;
    private int ticks;
    private long invoked = System.nanoTime();

    private boolean received;
    private long first; // word of the last message received
    private long next; // sequence number of a stream
    private long startNs;
    private long startNext;
    private long endNs;

    private AeronPeer(final String[] arguments) {
        final Map<String, String> options = new HashMap<>();
        options.put("--touch", "full");
        options.put("--seconds", "2");
        options.put("--cpus", "0,1");
        boolean sleep = false;
        for (int i = 1; i < arguments.length; i++) {
            if (arguments[i].equals("--sleep")) {
                sleep = true;
            } else if (List.of("--bytes", "--touch", "--seconds", "--cpus", "--folder").contains(arguments[i])
                && i + 1 < arguments.length) {
                options.put(arguments[i], arguments[++i]);
            } else {
                throw new IllegalArgumentException(arguments[i]);
            }
        }
        latency = arguments[0].equals("latency");
        if (!latency && !arguments[0].equals("stream")) {
            throw new IllegalArgumentException(arguments[0]);
        }
        bytes = Integer.parseInt(options.get("--bytes"));
        if (bytes < 8 || bytes % 8 != 0 || bytes > 16 << 20) {
            throw new IllegalArgumentException("--bytes: a multiple of 8 from 8 to 16777216, Aeron's maximum");
        }
        full = latency ? options.get("--touch").equals("full") : bytes <= FULL_MAX;
        seconds = Double.parseDouble(options.get("--seconds"));
        cpus = options.get("--cpus").split(",");
        this.sleep = sleep;
        folder = options.get("--folder");
    }

    public static void main(final String[] arguments) {
        int code = 1;
        try {
            if (arguments[0].equals("second")) {
                new AeronPeer(Arrays.copyOfRange(arguments, 2, arguments.length)).second(arguments[1]);
            } else {
                new AeronPeer(arguments).first(arguments);
            }
            code = 0;
        } catch (final Throwable error) {
            error.printStackTrace();
        }
        System.exit(code);
    }

    private void first(final String[] arguments) throws Exception {
        final Path directory = Files.createTempDirectory(Path.of(folder == null ? "/dev/shm" : folder), "aeron-");
        final Process[] second = new Process[1];
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            if (second[0] != null) {
                second[0].destroyForcibly();
            }
            IoUtil.delete(directory.toFile(), true);
        }));
        watch((long)(seconds * 1000) + 60_000);

        final int term = BitUtil.findNextPositivePowerOfTwo(Math.max(TERM, 8 * bytes));
        driver = MediaDriver.launchEmbedded(new MediaDriver.Context()
            .aeronDirectoryName(directory.resolve("driver").toString())
            .threadingMode(ThreadingMode.INVOKER)
            .ipcMtuLength(MTU)
            .ipcTermBufferLength(term)
            .termBufferSparseFile(false)
            .dirDeleteOnStart(true)
            .dirDeleteOnShutdown(true));
        driverInvoker = driver.sharedAgentInvoker();
        open(driver.aeronDirectoryName(), STREAM_THERE, STREAM_BACK);

        final List<String> command = new ArrayList<>(List.of("taskset", "-c", cpus[1],
            Path.of(System.getProperty("java.home"), "bin", "java").toString()));
        command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), "AeronPeer", "second",
            driver.aeronDirectoryName()));
        command.addAll(List.of(arguments));
        // It ends when its standard input, ours to write, does.
        second[0] = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        connect(second[0]);

        final String result = latency ? ping() : send();

        while (second[0].isAlive()) {
            invoke();
            Thread.sleep(1);
        }
        if (second[0].exitValue() != 0) {
            throw new IllegalStateException("second JVM: exit code " + second[0].exitValue());
        }
        final String answer =
            new BufferedReader(new InputStreamReader(second[0].getInputStream())).readLine();
        aeron.close();
        driver.close();
        System.out.println(latency ? result : answer);
        System.out.flush();
    }

    private void second(final String directory) {
        final Thread watcher = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    continue;
                }
            } catch (final IOException error) {
                error.printStackTrace();
            }
            Runtime.getRuntime().halt(2);
        });
        watcher.setDaemon(true);
        watcher.start();
        open(directory, STREAM_BACK, STREAM_THERE);
        connect(null);
        if (latency) {
            pong();
        } else {
            receive();
        }
        aeron.close();
    }

    private static void watch(final long milliseconds) {
        final Thread watcher = new Thread(() -> {
            try {
                Thread.sleep(milliseconds);
            } catch (final InterruptedException error) {
                return;
            }
            System.err.println("AeronPeer: timed out");
            System.exit(1);
        });
        watcher.setDaemon(true);
        watcher.start();
    }

    private void open(final String directory, final int sends, final int receives) {
        final Aeron.Context context = new Aeron.Context()
            .aeronDirectoryName(directory)
            .useConductorAgentInvoker(true)
            .errorHandler(error -> {
                error.printStackTrace();
                Runtime.getRuntime().exit(1);
            });
        if (driverInvoker != null) {
            context.driverAgentInvoker(driverInvoker);
        }
        aeron = Aeron.connect(context);
        clientInvoker = aeron.conductorAgentInvoker();
        publication = aeron.addExclusivePublication(CommonContext.IPC_CHANNEL, sends);
        subscription = aeron.addSubscription(CommonContext.IPC_CHANNEL, receives);
        if (bytes > publication.maxPayloadLength()) {
            large = new UnsafeBuffer(ByteBuffer.allocateDirect(bytes));
        }
        idle = sleep ? new BackoffIdleStrategy() : null;
        final FragmentHandler whole = latency ? this::onMessage : this::onStream;
        handler = large == null ? whole : new ImageFragmentAssembler(whole, bytes);
    }

    private void connect(final Process second) {
        while (!publication.isConnected() || subscription.imageCount() == 0) {
            if (second != null && !second.isAlive()) {
                throw new IllegalStateException("second JVM: exit code " + second.exitValue());
            }
            invoke();
            Thread.onSpinWait();
        }
        image = subscription.imageAtIndex(0);
    }

    private void invoke() {
        if (driverInvoker != null) {
            driverInvoker.invoke();
        }
        clientInvoker.invoke();
        invoked = System.nanoTime();
    }

    /** Called again and again: the driver's and the conductor's work about once a millisecond. */
    private void tick() {
        if ((++ticks & 0x3f) == 0 && System.nanoTime() - invoked > 1_000_000) {
            invoke();
        }
    }

    private void backPressured(final long result) {
        if (result == Publication.CLOSED || result == Publication.NOT_CONNECTED
            || result == Publication.MAX_POSITION_EXCEEDED) {
            throw new IllegalStateException("publication: " + Publication.errorString(result));
        }
        if (driverInvoker != null) {
            driverInvoker.invoke();
        }
        tick();
        Thread.onSpinWait();
    }

    private static void write(final MutableDirectBuffer buffer, final int offset, final int length, final long seed) {
        long word = seed;
        for (int i = 0; i < length; i += 8) {
            buffer.putLong(offset + i, word);
            word += STEP;
        }
    }

    private static void check(final DirectBuffer buffer, final int offset, final int length, final long seed) {
        long wrong = 0;
        long word = seed;
        for (int i = 0; i < length; i += 8) {
            wrong |= buffer.getLong(offset + i) ^ word;
            word += STEP;
        }
        if (wrong != 0) {
            throw new IllegalStateException("wrong contents of message " + seed);
        }
    }

    private void put(final long seed) {
        final int touched = full ? bytes : 8;
        long result;
        if (large == null) {
            while ((result = publication.tryClaim(bytes, claim)) < 0) {
                backPressured(result);
            }
            write(claim.buffer(), claim.offset(), touched, seed);
            claim.commit();
        } else {
            write(large, 0, touched, seed);
            while ((result = publication.offer(large, 0, bytes)) < 0) {
                backPressured(result);
            }
        }
        tick();
    }

    private void take() {
        received = false;
        while (true) {
            // More than one: the fragments of a message.
            final int fragments = image.poll(handler, fragmentLimit);
            if (received) {
                return;
            }
            if (image.isClosed()) {
                throw new IllegalStateException("the other side is gone");
            }
            tick();
            if (idle != null) {
                idle.idle(fragments);
            } else if (fragments == 0) {
                Thread.onSpinWait();
            }
        }
    }

    private void onMessage(final DirectBuffer buffer, final int offset, final int length, final Header header) {
        if (length != bytes) {
            throw new IllegalStateException("length " + length);
        }
        first = buffer.getLong(offset);
        if (full) {
            check(buffer, offset, length, first);
        }
        received = true;
    }

    private String ping() {
        fragmentLimit = large == null ? 1 : 1024;
        final Histogram histogram = new Histogram();
        long seed = 1;
        for (int measured = 0; measured < 2; measured++) {
            final long until =
                System.nanoTime() + (measured == 0 ? WARM_UP_NS : (long)(seconds * 1e9));
            histogram.clear();
            long end;
            do {
                final long start = System.nanoTime();
                put(seed);
                take();
                end = System.nanoTime();
                if (first != ~seed) {
                    throw new IllegalStateException("wrong answer to message " + seed);
                }
                seed++;
                histogram.add(end - start);
            } while (end < until);
        }
        put(-1);
        return histogram.json();
    }

    private void pong() {
        fragmentLimit = large == null ? 1 : 1024;
        long seed = 1;
        while (true) {
            take();
            if (first == -1) {
                return;
            }
            if (first != seed) {
                throw new IllegalStateException("message " + first + " instead of " + seed);
            }
            put(~seed);
            seed++;
        }
    }

    private String send() throws InterruptedException {
        final int every = bytes > 4096 ? 1 : 64;
        long sequence = 0;
        long flags = 0;
        for (int measured = 0; measured < 2; measured++) {
            final long until =
                System.nanoTime() + (measured == 0 ? WARM_UP_NS : (long)(seconds * 1e9));
            flags = measured == 0 ? 0 : START;
            do {
                for (int i = 0; i < every; i++) {
                    put(sequence++ | flags);
                    flags = 0;
                }
            } while (System.nanoTime() < until);
        }
        put(sequence | END);
        return null;
    }

    private void onStream(final DirectBuffer buffer, final int offset, final int length, final Header header) {
        final long word = buffer.getLong(offset);
        if (length != bytes || (word & ~(START | END)) != next) {
            throw new IllegalStateException("message " + word + " of " + length + " bytes instead of " + next);
        }
        next++;
        if (full) {
            check(buffer, offset, length, word);
        }
        if ((word & (START | END)) != 0) {
            if ((word & START) != 0) {
                startNs = System.nanoTime();
                startNext = next;
            } else {
                endNs = System.nanoTime();
                received = true;
            }
        }
    }

    private void receive() {
        fragmentLimit = 256;
        take();
        // The first one was before the time began.
        final long count = next - startNext;
        System.out.printf(Locale.ROOT, "{\"per_second\":%.1f,\"count\":%d}%n", count * 1e9 / (endNs - startNs), count);
        System.out.flush();
    }

    /** Round trips, exact: those below about 1 ms counted by nanosecond, the others as they are. */
    private static final class Histogram {
        private final int[] counts = new int[1 << 20];
        private long[] large = new long[1024];
        private int larges;
        private long count;
        private long max;

        void clear() {
            Arrays.fill(counts, 0);
            larges = 0;
            count = 0;
            max = 0;
        }

        void add(final long ns) {
            if (ns < counts.length) {
                counts[(int)ns]++;
            } else {
                if (larges == large.length) {
                    large = Arrays.copyOf(large, 2 * larges);
                }
                large[larges++] = ns;
            }
            max = Math.max(max, ns);
            count++;
        }

        double oneWay(final double quantile) {
            long rank = Math.min((long)(quantile * count), count - 1);
            for (int ns = 0; ns < counts.length; ns++) {
                rank -= counts[ns];
                if (rank < 0) {
                    return ns / 2.0;
                }
            }
            return large[(int)rank] / 2.0;
        }

        String json() {
            Arrays.sort(large, 0, larges);
            return String.format(Locale.ROOT,
                "{\"p50_ns\":%.1f,\"p90_ns\":%.1f,\"p99_ns\":%.1f,\"p99_9_ns\":%.1f,\"max_ns\":%.1f,\"count\":%d}",
                oneWay(0.5), oneWay(0.9), oneWay(0.99), oneWay(0.999), max / 2.0, count);
        }
    }
}
