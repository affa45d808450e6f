// SPDX-License-Identifier: Apache-2.0

// Connects clients that others wrote, in each way there is, on behalf of a test. Calls come as lines of JSON,
// {"id": 1, "call": "crt5", "arguments": {...}}, and are answered by {"id": 1, "result": ...} or {"id": 1, "error": "..."}.
// A conversation with a broker is: subscribe, publish to oneself, get the message, disconnect. It returns the payload.

'use strict';

const fs = require('fs');
const https = require('https');
const { once } = require('events');
const readline = require('readline');
const mqttjs = require('mqtt');
const { auth, http, io, iot, mqtt, mqtt5 } = require('aws-iot-device-sdk-v2');
const data = require('@aws-sdk/client-iot-data-plane');
const jobs = require('@aws-sdk/client-iot-jobs-data-plane');

const proxyOf = (a) => new http.HttpProxyOptions(a.proxyHost, a.proxyPort);

function tls(a, cert) {
  const options = cert ? io.TlsContextOptions.create_client_with_mtls_from_path(a.cert, a.key) : new io.TlsContextOptions();
  options.override_default_trust_store_from_path(undefined, a.ca);
  return new io.ClientTlsContext(options);
}

// credentials come from a static key, from Cognito, or from a role alias; the latter two by their names through the proxy.
function credentials(a) {
  switch (a.credentials) {
    case 'cognito':
      return auth.AwsCredentialsProvider.newCognito({ endpoint: `cognito-identity.${a.region}.amazonaws.com`, identity: a.identity, tlsContext: tls(a), httpProxyOptions: proxyOf(a) });
    case 'role-alias':
      return auth.AwsCredentialsProvider.newX509({ endpoint: a.credentialsEndpoint, thingName: a.thing, roleAlias: a.roleAlias, tlsContext: tls(a, true), httpProxyOptions: proxyOf(a) });
    default:
      return auth.AwsCredentialsProvider.newStatic(a.accessKeyId, a.secretAccessKey, a.sessionToken);
  }
}

const custom = (a) => ({ authorizerName: a.authorizer, username: a.username, password: a.password,
  tokenKeyName: a.tokenKeyName, tokenValue: a.token, tokenSignature: a.signature });

function builder5(a) {
  const B = iot.AwsIotMqtt5ClientConfigBuilder;
  switch (a.method) {
    case 'certificate': return B.newDirectMqttBuilderWithMtlsFromPath(a.endpoint, a.cert, a.key);
    case 'sigv4': return B.newWebsocketMqttBuilderWithSigv4Auth(a.endpoint, { region: a.region, credentialsProvider: credentials(a) });
    case 'custom': return B.newDirectMqttBuilderWithCustomAuth(a.endpoint, { ...custom(a), password: Buffer.from(a.password || '') });
    case 'custom-websocket': return B.newWebsocketMqttBuilderWithCustomAuth(a.endpoint, { ...custom(a), password: Buffer.from(a.password || '') });
  }
  throw new Error('no method ' + a.method);
}

async function crt5(a) {
  const builder = builder5(a);
  builder.withCertificateAuthorityFromPath(undefined, a.ca);
  builder.withHttpProxyOptions(proxyOf(a));
  if (a.port) builder.withPort(a.port);
  builder.withConnectProperties({ clientId: a.clientId, keepAliveIntervalSeconds: 1200 });
  const client = new mqtt5.Mqtt5Client(builder.build());
  const failed = once(client, mqtt5.Mqtt5Client.CONNECTION_FAILURE).then(([e]) => { throw new Error(String(e.error)); });
  const connected = once(client, mqtt5.Mqtt5Client.CONNECTION_SUCCESS);
  client.start();
  await Promise.race([connected, failed]);
  const message = once(client, mqtt5.Mqtt5Client.MESSAGE_RECEIVED);
  await client.subscribe({ subscriptions: [{ topicFilter: a.topic, qos: 1 }] });
  await client.publish({ topicName: a.topic, qos: 1, payload: a.payload, contentType: 'text/plain', userProperties: [{ name: 'n', value: 'v' }] });
  const [{ message: m }] = await message;
  failed.catch(() => {});
  const stopped = once(client, mqtt5.Mqtt5Client.STOPPED);
  client.stop({ reasonCode: 0 });
  await stopped;
  client.close();
  return { payload: Buffer.from(m.payload).toString(), contentType: m.contentType, properties: m.userProperties };
}

function builder3(a) {
  const B = iot.AwsIotMqttConnectionConfigBuilder;
  switch (a.method) {
    case 'certificate': return B.new_mtls_builder_from_path(a.cert, a.key);
    case 'sigv4': return B.new_with_websockets({ region: a.region, credentials_provider: credentials(a) });
    case 'custom': return B.new_default_builder().with_custom_authorizer(a.username, a.authorizer, a.signature, a.password, a.tokenKeyName, a.token);
    case 'custom-websocket': return B.new_builder_for_websocket().with_custom_authorizer(a.username, a.authorizer, a.signature, a.password, a.tokenKeyName, a.token);
  }
  throw new Error('no method ' + a.method);
}

async function crt3(a) {
  const builder = builder3(a);
  builder.with_certificate_authority_from_path(undefined, a.ca);
  builder.with_endpoint(a.endpoint);
  builder.with_http_proxy_options(proxyOf(a));
  if (a.port) builder.with_port(a.port);
  builder.with_client_id(a.clientId);
  const connection = new mqtt.MqttClient(new io.ClientBootstrap()).new_connection(builder.build());
  await connection.connect();
  let got;
  const message = new Promise((done) => { got = done; });
  await connection.subscribe(a.topic, mqtt.QoS.AtLeastOnce, (topic, payload) => got(Buffer.from(payload).toString()));
  await connection.publish(a.topic, a.payload, mqtt.QoS.AtLeastOnce);
  const payload = await message;
  await connection.disconnect();
  return { payload };
}

// mqttJS talks to the ports of the core themselves: it has no proxy.
async function mqttJS(a) {
  const options = { protocolVersion: a.version, clientId: a.clientId, ca: fs.readFileSync(a.ca), reconnectPeriod: 0, ALPNProtocols: a.alpn };
  if (a.cert) Object.assign(options, { cert: fs.readFileSync(a.cert), key: fs.readFileSync(a.key) });
  if (a.username) Object.assign(options, { username: a.username, password: a.password });
  const client = await mqttjs.connectAsync(a.url, options);
  const message = once(client, 'message');
  await client.subscribeAsync(a.topic, { qos: 1 });
  await client.publishAsync(a.topic, a.payload, { qos: 1 });
  const [, payload] = await message;
  await client.endAsync();
  return { payload: payload.toString() };
}

const handler = (a) => ({ requestHandler: { httpsAgent: new https.Agent({ ca: fs.readFileSync(a.ca), ...(a.cert ? { cert: fs.readFileSync(a.cert), key: fs.readFileSync(a.key) } : {}) }) } });
const signer = (a) => ({ region: a.region, endpoint: a.url, credentials: { accessKeyId: a.accessKeyId, secretAccessKey: a.secretAccessKey, sessionToken: a.sessionToken }, maxAttempts: 1 });
const text = (b) => (b ? Buffer.from(b).toString() : '');

// dataPlane runs commands of the AWS SDK in turn, and returns what they answered, or the names of their errors.
async function dataPlane(a) {
  const clients = { data: new data.IoTDataPlaneClient({ ...signer(a), ...handler(a) }), jobs: new jobs.IoTJobsDataPlaneClient({ ...signer(a), ...handler(a) }) };
  const out = [];
  for (const { service, command, input } of a.commands) {
    if (typeof input.payload === 'string') input.payload = Buffer.from(input.payload);
    try {
      const r = await clients[service].send(new (service === 'data' ? data : jobs)[command + 'Command'](input));
      if (r.payload) r.payload = text(r.payload);
      delete r.$metadata;
      out.push(r);
    } catch (e) {
      out.push({ error: e.name, status: e.$metadata?.httpStatusCode });
    }
  }
  return out;
}

const calls = { crt5, crt3, mqttJS, dataPlane };
const lines = readline.createInterface({ input: process.stdin });
lines.on('line', async (line) => {
  const { id, call, arguments: a } = JSON.parse(line);
  let answer;
  try {
    answer = { id, result: await calls[call](a) };
  } catch (e) {
    answer = { id, error: String(e && e.stack || e) };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
});
lines.on('close', () => process.exit(0));
