// SPDX-License-Identifier: Apache-2.0

// Drives the service clients of the AWS IoT Device SDK for JavaScript v2 on behalf of a test.
//
// Requests come as lines of JSON, {"id": 1, "call": "shadow.getShadow", "arguments": {...}}, and are answered by
// {"id": 1, "result": ...} or {"id": 1, "error": "...", "modeled": {...}}. Messages of streams are lines
// {"stream": "name", "event": "...", "message": ...}. The program ends with its standard input.

'use strict';

const { once } = require('events');
const readline = require('readline');
const { io, iot, iotidentity, iotjobs, iotshadow, mqtt, mqtt5 } = require('aws-iot-device-sdk-v2');

const services = {
  shadow: iotshadow.IotShadowClientv2,
  jobs: iotjobs.IotJobsClientv2,
  identity: iotidentity.IotIdentityClientv2,
};
const budget = { maxRequestResponseSubscriptions: 6, maxStreamingSubscriptions: 2, operationTimeoutInSeconds: 60 };

const clients = {};
const streams = {};
let disconnect = async () => {};

function write(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}

async function connect5(a) {
  const builder = iot.AwsIotMqtt5ClientConfigBuilder.newDirectMqttBuilderWithMtlsFromPath(a.host, a.cert, a.key);
  builder.withCertificateAuthorityFromPath(undefined, a.ca);
  builder.withPort(a.port);
  builder.withConnectProperties({ clientId: a.clientId, keepAliveIntervalSeconds: 1200 });
  const client = new mqtt5.Mqtt5Client(builder.build());
  const connected = once(client, mqtt5.Mqtt5Client.CONNECTION_SUCCESS);
  client.start();
  await connected;
  disconnect = async () => {
    const stopped = once(client, mqtt5.Mqtt5Client.STOPPED);
    client.stop();
    await stopped;
    client.close();
  };
  return (service) => service.newFromMqtt5(client, budget);
}

async function connect3(a) {
  const builder = iot.AwsIotMqttConnectionConfigBuilder.new_mtls_builder_from_path(a.cert, a.key);
  builder.with_certificate_authority_from_path(undefined, a.ca);
  builder.with_endpoint(a.host);
  builder.with_port(a.port);
  builder.with_client_id(a.clientId);
  const connection = new mqtt.MqttClient(new io.ClientBootstrap()).new_connection(builder.build());
  await connection.connect();
  disconnect = () => connection.disconnect();
  return (service) => service.newFromMqtt311(connection, budget);
}

const calls = {
  async connect(a) {
    const make = a.version === 5 ? await connect5(a) : await connect3(a);
    for (const [name, service] of Object.entries(services)) {
      clients[name] = make(service);
    }
  },

  // open begins a stream and returns when the subscription is there.
  async open({ stream, service, create, config }) {
    const operation = clients[service][create](config);
    streams[stream] = operation;
    operation.on('incomingPublish', (e) => write({ stream, event: 'message', message: e.message }));
    operation.on('incomingPublishError', (e) => write({ stream, event: 'error', message: String(e.error) }));
    const status = once(operation, 'subscriptionStatus');
    operation.open();
    const [first] = await status;
    return { status: first.type };
  },

  async close({ stream }) {
    streams[stream].close();
  },

  // bench makes n calls, some of them at a time, and returns the time of each in microseconds.
  async bench({ n, parallel, service, method, request }) {
    const times = [];
    let left = n;
    const worker = async () => {
      while (left-- > 0) {
        const begin = process.hrtime.bigint();
        await clients[service][method](request);
        times.push(Number(process.hrtime.bigint() - begin) / 1000);
      }
    };
    await Promise.all(Array.from({ length: parallel }, worker));
    return { times };
  },

  async disconnect() {
    for (const stream of Object.values(streams)) {
      stream.close();
    }
    for (const client of Object.values(clients)) {
      client.close();
    }
    await disconnect();
  },
};

async function serve({ id, call, arguments: a }) {
  try {
    const [service, method] = call.split('.');
    const result = method ? await clients[service][method](a) : await calls[call](a);
    write({ id, result: result ?? null });
  } catch (e) {
    write({ id, error: String(e), modeled: e.modeledError });
  }
}

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => serve(JSON.parse(line)));
lines.on('close', () => process.exit(0));
