import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListOffsetsResult;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.AppInfoParser;

/** The Java client as a driver: lines of JSON, as driver.py says. Does not: judge. */
public final class Driver {
    private static final long WAIT_MS = 30_000;
    private static final String BYTES_MAX = "20000000";

    private final ObjectMapper json = new ObjectMapper();
    private final String bootstrap;
    private final Admin admin;
    private final Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();
    private Member member;

    private Driver(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(common());
    }

    public static void main(String[] words) throws Exception {
        Driver driver = new Driver(words[0]);
        BufferedReader lines =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(driver.json.writeValueAsString(driver.answer(line)));
        }
        driver.producers.values().forEach(KafkaProducer::close);
        driver.admin.close();
    }

    private Map<String, Object> answer(String line) throws Exception {
        Map<String, Object> answer = new LinkedHashMap<>();
        try {
            answer.put("ok", run(json.readTree(line)));
        } catch (UnsupportedOperationException error) {
            answer.put("unsupported", error.getMessage());
        } catch (Exception error) {
            Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
            boolean isKafkas = cause instanceof KafkaException;
            if (cause instanceof OffsetOutOfRangeException) {
                answer.put("error", "OFFSET_OUT_OF_RANGE");
            } else {
                Errors code = Errors.forException(cause);
                boolean known = isKafkas && code != Errors.UNKNOWN_SERVER_ERROR;
                answer.put("error", known ? code.name() : cause.getClass().getSimpleName());
            }
            answer.put("text", String.valueOf(cause.getMessage()));
        }
        return answer;
    }

    private Object run(JsonNode ask) throws Exception {
        String topic = ask.path("topic").asText();
        TopicPartition place = new TopicPartition(topic, ask.path("partition").asInt());
        String group = ask.path("group").asText();
        switch (ask.get("op").asText()) {
            case "version":
                return AppInfoParser.getVersion();
            case "produce":
                return produce(ask, topic);
            case "consume":
                return consume(ask, place);
            case "offset":
                return offset(place, ask.get("at"));
            case "join":
                member = new Member(ask, group);
                return null;
            case "poll":
                return member.poll(ask.get("count").asInt(), ask.path("seconds").asDouble(30));
            case "assignment":
                return member.assignment();
            case "commit":
                member.commit();
                return null;
            case "leave":
                member.leave();
                return null;
            case "committed":
                return committed(group, place);
            case "create_topic":
                return create(ask, topic);
            case "delete_topic":
                return done(admin.deleteTopics(List.of(topic)).all());
            case "partitions":
                return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic)
                        .partitions().size();
            case "create_partitions":
                NewPartitions grown = NewPartitions.increaseTo(ask.get("total").asInt());
                return done(admin.createPartitions(Map.of(topic, grown)).all());
            case "config":
                return config(topic).get(ask.get("name").asText());
            case "alter_config":
                return alter(topic, ask.get("name").asText(), ask.get("value").asText());
            case "delete_records":
                RecordsToDelete before = RecordsToDelete.beforeOffset(ask.get("offset").asLong());
                return admin.deleteRecords(Map.of(place, before)).lowWatermarks().get(place).get()
                        .lowWatermark();
            case "groups":
                return admin.listGroups().all().get().stream().map(GroupListing::groupId).sorted()
                        .toList();
            case "group":
                var told = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                return Map.of(
                        "state", told.groupState().toString(), "members", told.members().size());
            case "delete_group":
                return done(admin.deleteConsumerGroups(List.of(group)).all());
            case "delete_offset":
                return done(admin.deleteConsumerGroupOffsets(group, Set.of(place)).all());
            default:
                throw new UnsupportedOperationException("not in this driver");
        }
    }

    private static Object done(Future<?> future) throws Exception {
        future.get();
        return null;
    }

    private Properties common() {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        return settings;
    }

    private static byte[] bytes(JsonNode text) {
        boolean isNull = text == null || text.isNull() || text.isMissingNode();
        return isNull ? null : text.asText().getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    private Object produce(JsonNode ask, String topic) throws Exception {
        Properties settings = common();
        settings.put("compression.type", ask.path("codec").asText("none"));
        settings.put("enable.idempotence", ask.path("idempotent").asBoolean(false));
        settings.put("acks", ask.path("acks").asText("all"));
        settings.put("max.request.size", BYTES_MAX);
        settings.put("linger.ms", "5");
        String bytes = "org.apache.kafka.common.serialization.ByteArraySerializer";
        settings.put("key.serializer", bytes);
        settings.put("value.serializer", bytes);
        KafkaProducer<byte[], byte[]> producer =
                producers.computeIfAbsent(settings.toString(), name -> new KafkaProducer<>(settings));
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (JsonNode one : ask.get("records")) {
            List<Header> headers = new ArrayList<>();
            for (JsonNode header : one.path("headers")) {
                headers.add(new RecordHeader(header.get(0).asText(), bytes(header.get(1))));
            }
            Integer partition = one.has("partition") ? one.get("partition").asInt() : null;
            Long timestamp = one.has("timestamp") ? one.get("timestamp").asLong() : null;
            sent.add(producer.send(new ProducerRecord<>(
                    topic, partition, timestamp, bytes(one.get("key")), bytes(one.get("value")),
                    headers)));
        }
        List<Object> placed = new ArrayList<>();
        for (Future<RecordMetadata> one : sent) {
            RecordMetadata done = one.get();
            placed.add(List.of(done.partition(), done.offset()));
        }
        return placed;
    }

    private KafkaConsumer<byte[], byte[]> consumer(Properties more) {
        Properties settings = common();
        settings.put("enable.auto.commit", "false");
        settings.put("fetch.max.wait.ms", "100");
        settings.put("max.partition.fetch.bytes", BYTES_MAX);
        String bytes = "org.apache.kafka.common.serialization.ByteArrayDeserializer";
        settings.put("key.deserializer", bytes);
        settings.put("value.deserializer", bytes);
        settings.putAll(more);
        return new KafkaConsumer<>(settings);
    }

    private static Map<String, Object> plain(ConsumerRecord<byte[], byte[]> record) {
        List<Object> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            List<Object> pair = new ArrayList<>();
            pair.add(header.key());
            pair.add(text(header.value()));
            headers.add(pair);
        }
        Map<String, Object> plain = new TreeMap<>();
        plain.put("topic", record.topic());
        plain.put("partition", record.partition());
        plain.put("offset", record.offset());
        plain.put("key", text(record.key()));
        plain.put("value", text(record.value()));
        plain.put("headers", headers);
        plain.put("timestamp", record.timestamp());
        boolean isLogs = record.timestampType() == TimestampType.LOG_APPEND_TIME;
        plain.put("timestamp_type", isLogs ? "LogAppendTime" : "CreateTime");
        return plain;
    }

    private Object consume(JsonNode ask, TopicPartition place) {
        Properties settings = new Properties();
        String reset = ask.path("reset").asText("none");
        settings.put("auto.offset.reset", reset.equals("error") ? "none" : reset);
        int count = ask.get("count").asInt();
        List<Object> records = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(settings)) {
            consumer.assign(List.of(place));
            if (ask.path("offset").isNumber()) {
                consumer.seek(place, ask.get("offset").asLong());
            } else {
                consumer.seekToBeginning(List.of(place));
            }
            long deadline = System.currentTimeMillis() + WAIT_MS;
            while (records.size() < count && System.currentTimeMillis() < deadline) {
                consumer.poll(Duration.ofMillis(200)).forEach(one -> records.add(plain(one)));
            }
        }
        return records.subList(0, Math.min(count, records.size()));
    }

    private Object offset(TopicPartition place, JsonNode at) throws Exception {
        OffsetSpec spec = OffsetSpec.forTimestamp(at.asLong());
        if (at.asText().equals("earliest")) {
            spec = OffsetSpec.earliest();
        } else if (at.asText().equals("latest")) {
            spec = OffsetSpec.latest();
        }
        ListOffsetsResult.ListOffsetsResultInfo found =
                admin.listOffsets(Map.of(place, spec)).partitionResult(place).get();
        return found.offset() < 0 ? null : found.offset();
    }

    private Object committed(String group, TopicPartition place) throws Exception {
        OffsetAndMetadata found =
                admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get()
                        .get(place);
        return found == null ? null : found.offset();
    }

    private Object create(JsonNode ask, String topic) throws Exception {
        Map<String, String> configs = new HashMap<>();
        ask.path("configs").fields()
                .forEachRemaining(one -> configs.put(one.getKey(), one.getValue().asText()));
        Optional<Integer> count = Optional.of(ask.path("partitions").asInt(1));
        NewTopic fresh = new NewTopic(topic, count, Optional.empty()).configs(configs);
        return done(admin.createTopics(List.of(fresh)).all());
    }

    private Map<String, String> config(String topic) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Map<String, String> values = new HashMap<>();
        for (ConfigEntry one :
                admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()) {
            values.put(one.name(), one.value());
        }
        return values;
    }

    private Object alter(String topic, String name, String value) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        AlterConfigOp set =
                new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET);
        return done(admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all());
    }

    /** A member of a group; its consumer beats on a thread of its own, but joins in polls. */
    private final class Member {
        private final KafkaConsumer<byte[], byte[]> consumer;

        private Member(JsonNode ask, String group) {
            Properties settings = new Properties();
            settings.put("group.id", group);
            settings.put("auto.offset.reset", "earliest");
            settings.put("session.timeout.ms", "6000");
            settings.put("heartbeat.interval.ms", "500");
            if (ask.hasNonNull("instance")) {
                settings.put("group.instance.id", ask.get("instance").asText());
            }
            String strategy = ask.path("strategy").asText("range");
            String name = strategy.equals("range") ? "RangeAssignor" : "CooperativeStickyAssignor";
            settings.put(
                    "partition.assignment.strategy", "org.apache.kafka.clients.consumer." + name);
            consumer = consumer(settings);
            List<String> topics = new ArrayList<>();
            ask.get("topics").forEach(one -> topics.add(one.asText()));
            consumer.subscribe(topics);
        }

        private Object poll(int count, double seconds) {
            List<Object> records = new ArrayList<>();
            long deadline = System.currentTimeMillis() + (long) (seconds * 1000);
            while (records.size() < count && System.currentTimeMillis() < deadline) {
                consumer.poll(Duration.ofMillis(100)).forEach(one -> records.add(plain(one)));
            }
            return records;
        }

        private Object assignment() {
            List<List<Object>> places = new ArrayList<>();
            for (TopicPartition one : consumer.assignment()) {
                places.add(List.of(one.topic(), one.partition()));
            }
            Collections.sort(places, (a, b) -> a.toString().compareTo(b.toString()));
            return places;
        }

        private void commit() {
            consumer.commitSync();
        }

        private void leave() {
            consumer.close();
        }
    }
}
