// franz-go as a driver: lines of JSON, as driver.py says. Does not: judge.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	wait     = 30 * time.Second
	bytesMax = 20_000_000
)

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

type record struct {
	Partition *int32       `json:"partition"`
	Key       *string      `json:"key"`
	Value     *string      `json:"value"`
	Headers   [][2]*string `json:"headers"`
	Timestamp *int64       `json:"timestamp"`
}

type ask struct {
	Op         string            `json:"op"`
	Topic      string            `json:"topic"`
	Topics     []string          `json:"topics"`
	Records    []record          `json:"records"`
	Codec      string            `json:"codec"`
	Idempotent bool              `json:"idempotent"`
	Partition  int32             `json:"partition"`
	Partitions int32             `json:"partitions"`
	Total      int               `json:"total"`
	Count      int               `json:"count"`
	Offset     any               `json:"offset"`
	At         any               `json:"at"`
	Group      string            `json:"group"`
	Strategy   string            `json:"strategy"`
	Instance   string            `json:"instance"`
	Seconds    float64           `json:"seconds"`
	Name       string            `json:"name"`
	Value      string            `json:"value"`
	Configs    map[string]string `json:"configs"`
}

type driver struct {
	seeds     []string
	admin     *kadm.Client
	producers map[string]*kgo.Client
	member    *kgo.Client
	assigned  map[string]map[int32]bool
	changes   chan func()
}

type unsupported string

func (u unsupported) Error() string { return string(u) }

func main() {
	seeds := strings.Split(os.Args[1], ",")
	client := must(kgo.NewClient(kgo.SeedBrokers(seeds...)))
	d := &driver{seeds: seeds, admin: kadm.NewClient(client), producers: map[string]*kgo.Client{}}
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		fmt.Println(d.answer(line))
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func (d *driver) answer(line []byte) string {
	a := ask{Seconds: wait.Seconds(), Codec: "none", Strategy: "range", Partitions: 1}
	must(0, json.Unmarshal(line, &a))
	result, err := d.run(a)
	reply := map[string]any{"ok": result}
	var kafkas *kerr.Error
	var missing unsupported
	switch {
	case errors.As(err, &missing):
		reply = map[string]any{"unsupported": missing.Error()}
	case errors.As(err, &kafkas):
		reply = map[string]any{"error": kafkas.Message, "text": err.Error()}
	case err != nil:
		reply = map[string]any{"error": fmt.Sprintf("%T", err), "text": err.Error()}
	}
	return string(must(json.Marshal(reply)))
}

func (d *driver) run(a ask) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*wait)
	defer cancel()
	switch a.Op {
	case "version":
		return version(), nil
	case "produce":
		return d.produce(ctx, a)
	case "consume":
		return d.consume(ctx, a)
	case "offset":
		return d.offset(ctx, a)
	case "join":
		return nil, d.join(a)
	case "poll":
		return d.poll(a.Count, time.Duration(a.Seconds*float64(time.Second))), nil
	case "assignment":
		return d.assignment(), nil
	case "commit":
		return nil, d.member.CommitUncommittedOffsets(ctx)
	case "leave":
		d.member.Close()
		return nil, nil
	}
	return d.administer(ctx, a)
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, one := range info.Deps {
		if one.Path == "github.com/twmb/franz-go" {
			return strings.TrimPrefix(one.Version, "v")
		}
	}
	return "?"
}

func bytesOf(text *string) []byte {
	if text == nil {
		return nil
	}
	return []byte(*text)
}

func textOf(data []byte) any {
	if data == nil {
		return nil
	}
	return string(data)
}

func (d *driver) produce(ctx context.Context, a ask) (any, error) {
	name := fmt.Sprint(a.Codec, a.Idempotent)
	if d.producers[name] == nil {
		options := []kgo.Opt{
			kgo.SeedBrokers(d.seeds...), kgo.ProducerBatchCompression(codecs[a.Codec]),
			kgo.ProducerBatchMaxBytes(bytesMax), kgo.BrokerMaxWriteBytes(2 * bytesMax),
			kgo.RecordPartitioner(partitioner()), kgo.AllowAutoTopicCreation(),
		}
		if !a.Idempotent {
			options = append(options, kgo.DisableIdempotentWrite())
		}
		d.producers[name] = must(kgo.NewClient(options...))
	}
	var rows []*kgo.Record
	for _, one := range a.Records {
		row := &kgo.Record{Topic: a.Topic, Key: bytesOf(one.Key), Value: bytesOf(one.Value), Partition: -1}
		if one.Partition != nil {
			row.Partition = *one.Partition
		}
		if one.Timestamp != nil {
			row.Timestamp = time.UnixMilli(*one.Timestamp)
		}
		for _, header := range one.Headers {
			row.Headers = append(row.Headers, kgo.RecordHeader{Key: *header[0], Value: bytesOf(header[1])})
		}
		rows = append(rows, row)
	}
	placed := [][2]int64{}
	for _, done := range d.producers[name].ProduceSync(ctx, rows...) {
		if done.Err != nil {
			return nil, done.Err
		}
	}
	for _, row := range rows {
		placed = append(placed, [2]int64{int64(row.Partition), row.Offset})
	}
	return placed, nil
}

// partitioner takes a record's own partition, or one by its key.
func partitioner() kgo.Partitioner {
	byKey := kgo.StickyKeyPartitioner(nil)
	return kgo.BasicConsistentPartitioner(func(topic string) func(*kgo.Record, int) int {
		keyed := byKey.ForTopic(topic)
		return func(row *kgo.Record, count int) int {
			if row.Partition >= 0 {
				return int(row.Partition)
			}
			return keyed.Partition(row, count)
		}
	})
}

func plain(row *kgo.Record) map[string]any {
	headers := [][2]any{}
	for _, one := range row.Headers {
		headers = append(headers, [2]any{one.Key, textOf(one.Value)})
	}
	kind := "CreateTime"
	if row.Attrs.TimestampType() == 1 {
		kind = "LogAppendTime"
	}
	return map[string]any{
		"topic": row.Topic, "partition": row.Partition, "offset": row.Offset,
		"key": textOf(row.Key), "value": textOf(row.Value), "headers": headers,
		"timestamp": row.Timestamp.UnixMilli(), "timestamp_type": kind,
	}
}

func (d *driver) consume(ctx context.Context, a ask) (any, error) {
	start := kgo.NewOffset().AtStart()
	if number, ok := a.Offset.(float64); ok {
		start = kgo.NoResetOffset().At(int64(number))
	}
	client := must(kgo.NewClient(
		kgo.SeedBrokers(d.seeds...), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.FetchMaxBytes(bytesMax), kgo.FetchMaxPartitionBytes(bytesMax),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{a.Topic: {a.Partition: start}}),
	))
	defer client.Close()
	rows, err := read(client, a.Count, wait)
	if len(rows) > a.Count {
		rows = rows[:a.Count]
	}
	return rows, err
}

func read(client *kgo.Client, count int, limit time.Duration) ([]map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	rows := []map[string]any{}
	for len(rows) < count && ctx.Err() == nil {
		fetched := client.PollFetches(ctx)
		for _, one := range fetched.Errors() {
			if errors.Is(one.Err, kerr.OffsetOutOfRange) {
				return nil, one.Err
			}
		}
		fetched.EachRecord(func(row *kgo.Record) { rows = append(rows, plain(row)) })
	}
	return rows, nil
}

func (d *driver) offset(ctx context.Context, a ask) (any, error) {
	var listed kadm.ListedOffsets
	var err error
	switch at := a.At.(type) {
	case float64:
		listed, err = d.admin.ListOffsetsAfterMilli(ctx, int64(at), a.Topic)
	case string:
		listed, err = d.admin.ListEndOffsets(ctx, a.Topic)
		if at == "earliest" {
			listed, err = d.admin.ListStartOffsets(ctx, a.Topic)
		}
	}
	if err != nil {
		return nil, err
	}
	found, _ := listed.Lookup(a.Topic, a.Partition)
	if found.Err != nil {
		return nil, found.Err
	}
	return found.Offset, nil
}

func (d *driver) join(a ask) error {
	balancer := kgo.RangeBalancer()
	if a.Strategy == "cooperative-sticky" {
		balancer = kgo.CooperativeStickyBalancer()
	}
	d.assigned = map[string]map[int32]bool{}
	d.changes = make(chan func(), 1000)
	change := func(places map[string][]int32, present bool) {
		d.changes <- func() {
			for topic, numbers := range places {
				if d.assigned[topic] == nil {
					d.assigned[topic] = map[int32]bool{}
				}
				for _, number := range numbers {
					d.assigned[topic][number] = present
				}
			}
		}
	}
	gone := func(_ context.Context, _ *kgo.Client, places map[string][]int32) { change(places, false) }
	options := []kgo.Opt{
		kgo.SeedBrokers(d.seeds...), kgo.ConsumerGroup(a.Group), kgo.ConsumeTopics(a.Topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.Balancers(balancer),
		kgo.DisableAutoCommit(), kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond), kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, places map[string][]int32) {
			change(places, true)
		}),
		kgo.OnPartitionsRevoked(gone), kgo.OnPartitionsLost(gone),
	}
	if a.Instance != "" {
		options = append(options, kgo.InstanceID(a.Instance))
	}
	var err error
	d.member, err = kgo.NewClient(options...)
	return err
}

func (d *driver) poll(count int, limit time.Duration) []map[string]any {
	rows, _ := read(d.member, count, limit)
	return rows
}

func (d *driver) assignment() [][2]any {
	for len(d.changes) > 0 {
		(<-d.changes)()
	}
	places := [][2]any{}
	for topic, numbers := range d.assigned {
		for number, present := range numbers {
			if present {
				places = append(places, [2]any{topic, number})
			}
		}
	}
	sort.Slice(places, func(i, j int) bool { return fmt.Sprint(places[i]) < fmt.Sprint(places[j]) })
	return places
}

func (d *driver) administer(ctx context.Context, a ask) (any, error) {
	switch a.Op {
	case "create_topic":
		configs := map[string]*string{}
		for name, value := range a.Configs {
			configs[name] = &value
		}
		told, err := d.admin.CreateTopic(ctx, a.Partitions, -1, configs, a.Topic)
		return nil, errors.Join(err, told.Err)
	case "delete_topic":
		told, err := d.admin.DeleteTopic(ctx, a.Topic)
		return nil, errors.Join(err, told.Err)
	case "partitions":
		told, err := d.admin.ListTopics(ctx, a.Topic)
		if err != nil || told[a.Topic].Err != nil {
			return nil, errors.Join(err, told[a.Topic].Err)
		}
		return len(told[a.Topic].Partitions), nil
	case "create_partitions":
		told, err := d.admin.UpdatePartitions(ctx, a.Total, a.Topic)
		return nil, errors.Join(err, told.Error())
	case "config":
		told, err := d.admin.DescribeTopicConfigs(ctx, a.Topic)
		if err != nil {
			return nil, err
		}
		for _, one := range told[0].Configs {
			if one.Key == a.Name {
				return one.MaybeValue(), nil
			}
		}
		return nil, told[0].Err
	case "alter_config":
		change := kadm.AlterConfig{Op: kadm.SetConfig, Name: a.Name, Value: &a.Value}
		told, err := d.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{change}, a.Topic)
		if err != nil {
			return nil, err
		}
		return nil, told[0].Err
	case "delete_records":
		before := kadm.Offsets{}
		before.Add(kadm.Offset{Topic: a.Topic, Partition: a.Partition, At: int64(a.Offset.(float64)), LeaderEpoch: -1})
		told, err := d.admin.DeleteRecords(ctx, before)
		if err != nil {
			return nil, err
		}
		found, _ := told.Lookup(a.Topic, a.Partition)
		if found.Err != nil {
			return nil, found.Err
		}
		return found.LowWatermark, nil
	}
	return d.administerGroups(ctx, a)
}

func (d *driver) administerGroups(ctx context.Context, a ask) (any, error) {
	switch a.Op {
	case "groups":
		told, err := d.admin.ListGroups(ctx)
		return told.Groups(), err
	case "group":
		told, err := d.admin.DescribeGroups(ctx, a.Group)
		if err != nil {
			return nil, err
		}
		one := told[a.Group]
		return map[string]any{"state": one.State, "members": len(one.Members)}, one.Err
	case "delete_group":
		told, err := d.admin.DeleteGroup(ctx, a.Group)
		return nil, errors.Join(err, told.Err)
	case "committed":
		told, err := d.admin.FetchOffsets(ctx, a.Group)
		found, ok := told.Lookup(a.Topic, a.Partition)
		if err != nil || !ok || found.At < 0 {
			return nil, err
		}
		return found.At, nil
	case "delete_offset":
		places := kadm.TopicsSet{}
		places.Add(a.Topic, a.Partition)
		told, err := d.admin.DeleteOffsets(ctx, a.Group, places)
		return nil, errors.Join(err, told.Error())
	}
	return nil, unsupported("not in this driver")
}
