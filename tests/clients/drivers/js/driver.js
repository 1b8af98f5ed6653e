// kafkajs as a driver: lines of JSON, as driver.py says. Does not: judge.
'use strict'

const readline = require('node:readline')
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require('kafkajs')
const snappy = require('kafkajs-snappy')
const { version } = require('kafkajs/package.json')

CompressionCodecs[CompressionTypes.Snappy] = snappy

const WAIT_MS = 30_000
const BYTES_MAX = 20_000_000
const TOPIC = 2
const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }

class Unsupported extends Error {}

const kafka = new Kafka({
  clientId: 'driver',
  brokers: process.argv[2].split(','),
  logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 50, retries: 12 },
})
const admin = kafka.admin({ retry: { initialRetryTime: 50, retries: 3 } })
const producers = {}
let connected = null
let member = null

const text = (bytes) => (bytes === null || bytes === undefined ? null : bytes.toString())
const pause = (ms) => new Promise((done) => setTimeout(done, ms))

const plain = ({ topic, partition, message }) => ({
  topic,
  partition,
  offset: Number(message.offset),
  key: text(message.key),
  value: text(message.value),
  headers: Object.entries(message.headers || {}).flatMap(([name, values]) =>
    [values].flat().map((value) => [name, text(value)])
  ),
  timestamp: Number(message.timestamp),
  timestamp_type: null,
})

async function produce({ topic, records, codec = 'none', idempotent = false, acks = 'all' }) {
  if (!(codec in CODECS)) throw new Unsupported(`kafkajs comes without ${codec}`)
  const name = String(idempotent)
  if (!producers[name]) {
    producers[name] = kafka.producer({
      idempotent,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: true,
    })
    await producers[name].connect()
  }
  const messages = records.map((one) => {
    const headers = {}
    for (const [key, value] of one.headers || []) {
      headers[key] = key in headers ? [headers[key], value].flat() : value
    }
    const row = { key: one.key ?? null, value: one.value ?? null, headers }
    if (one.partition !== undefined) row.partition = one.partition
    if (one.timestamp !== undefined) row.timestamp = String(one.timestamp)
    return row
  })
  const told = await producers[name].send({
    topic,
    messages,
    acks: acks === 'all' ? -1 : Number(acks),
    compression: CODECS[codec],
  })
  const next = {}
  for (const { partition, baseOffset } of told) next[partition] = Number(baseOffset)
  if (told.length !== 1) return null // which record went where is not told
  return records.map(() => [told[0].partition, next[told[0].partition]++])
}

async function consume({ topic, partition, count, offset = 'earliest' }) {
  const [{ low, high }] = (await admin.fetchTopicOffsets(topic)).filter((one) => one.partition === partition)
  if (offset !== 'earliest' && offset > Number(high)) {
    throw new Unsupported('kafkajs goes back to the start by itself')
  }
  const consumer = kafka.consumer({ groupId: `driver-${process.pid}-${Date.now()}`, maxWaitTimeInMs: 100, maxBytesPerPartition: BYTES_MAX })
  const records = []
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const start = offset === 'earliest' ? Number(low) : offset
  await consumer.run({
    autoCommit: false,
    eachMessage: async (one) => {
      if (one.partition === partition && Number(one.message.offset) >= start) records.push(plain(one))
    },
  })
  consumer.seek({ topic, partition, offset: String(start) })
  const end = Date.now() + WAIT_MS
  while (records.length < count && Date.now() < end) await pause(20)
  await consumer.disconnect()
  return records.slice(0, count)
}

async function offset({ topic, partition, at }) {
  const own = (rows) => rows.find((one) => one.partition === partition)
  if (at === 'earliest') return Number(own(await admin.fetchTopicOffsets(topic)).low)
  if (at === 'latest') return Number(own(await admin.fetchTopicOffsets(topic)).high)
  const found = Number(own(await admin.fetchTopicOffsetsByTimestamp(topic, at)).offset)
  return found < 0 ? null : found
}

async function join({ group, topics, strategy = 'range', instance = null }) {
  if (instance !== null) throw new Unsupported('kafkajs has no static members')
  if (strategy !== 'range') throw new Unsupported('kafkajs has no cooperative assignor')
  const consumer = kafka.consumer({ groupId: group, sessionTimeout: 6_000, heartbeatInterval: 500, maxWaitTimeInMs: 100 })
  member = { consumer, records: [], places: [], next: {} }
  const own = member
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    own.places = Object.entries(payload.memberAssignment).flatMap(([topic, numbers]) =>
      numbers.map((number) => [topic, number])
    )
    own.places.sort()
  })
  await consumer.connect()
  await consumer.subscribe({ topics, fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachMessage: async (one) => {
      own.records.push(plain(one))
      own.next[`${one.topic} ${one.partition}`] = Number(one.message.offset) + 1
    },
  })
  return null
}

async function poll({ count, seconds = 30 }) {
  const end = Date.now() + seconds * 1000
  while (member.records.length < count && Date.now() < end) await pause(20)
  return member.records.splice(0)
}

async function commit() {
  const offsets = Object.entries(member.next).map(([place, next]) => {
    const [topic, partition] = place.split(' ')
    return { topic, partition: Number(partition), offset: String(next) }
  })
  await member.consumer.commitOffsets(offsets)
  return null
}

const operations = {
  version: async () => version,
  produce,
  consume,
  offset,
  join,
  poll,
  commit,
  assignment: async () => member.places,
  leave: async () => (await member.consumer.disconnect(), null),
  committed: async ({ group, topic, partition }) => {
    const told = await admin.fetchOffsets({ groupId: group, topics: [topic] })
    const found = told[0].partitions.find((one) => one.partition === partition)
    return !found || Number(found.offset) < 0 ? null : Number(found.offset)
  },
  create_topic: async ({ topic, partitions = 1, configs = {} }) => {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const topics = [{ topic, numPartitions: partitions, replicationFactor: -1, configEntries }]
    const made = await admin.createTopics({ topics, timeout: WAIT_MS })
    if (!made) throw Object.assign(new Error('exists'), { type: 'TOPIC_ALREADY_EXISTS' })
    return null
  },
  delete_topic: async ({ topic }) => (await admin.deleteTopics({ topics: [topic] }), null),
  partitions: async ({ topic }) =>
    (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length,
  create_partitions: async ({ topic, total }) => {
    await admin.createPartitions({ topicPartitions: [{ topic, count: total }] })
    return null
  },
  config: async ({ topic, name }) => {
    const told = await admin.describeConfigs({ resources: [{ type: TOPIC, name: topic }] })
    return told.resources[0].configEntries.find((one) => one.configName === name).configValue
  },
  alter_config: async ({ topic, name, value }) => {
    const configEntries = [{ name, value }]
    await admin.alterConfigs({ resources: [{ type: TOPIC, name: topic, configEntries }] })
    return null
  },
  delete_records: async ({ topic, partition, offset: before }) => {
    await admin.fetchTopicOffsets(topic) // it looks for leaders only among topics that it knows
    await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] })
    return offset({ topic, partition, at: 'earliest' })
  },
  groups: async () => (await admin.listGroups()).groups.map((one) => one.groupId).sort(),
  group: async ({ group }) => {
    const [told] = (await admin.describeGroups([group])).groups
    return { state: told.state, members: told.members.length }
  },
  delete_group: async ({ group }) => (await admin.deleteGroups([group]), null),
}

function kafkaName(error) {
  const named = [error, error.cause, ...(error.errors || []), ...(error.groups || [])]
  for (const one of [error, error.cause]) {
    if (one && one.partitions && one.partitions[0]) named.unshift(one.partitions[0].error)
  }
  for (const one of named) {
    if (one && one.type) return one.type
    if (one && one.error && one.error.type) return one.error.type
  }
  return error.name
}

async function answer(line) {
  const { op, ...words } = JSON.parse(line)
  if (!(op in operations)) return { unsupported: 'not in this library' }
  try {
    connected ??= admin.connect()
    await connected
    return { ok: await operations[op](words) }
  } catch (error) {
    if (error instanceof Unsupported) return { unsupported: error.message }
    return { error: kafkaName(error), text: error.message }
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(line))}\n`)
  }
  process.exit(0)
}

main()
