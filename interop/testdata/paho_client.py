# SPDX-License-Identifier: Apache-2.0
#
# paho's client: subscribes, publishes to itself, prints the payload that comes, disconnects.

import ssl
import sys

import paho.mqtt.client as mqtt

version, ca, port, transport, alpn, cert, key, user, password = sys.argv[1:]
arguments = dict(client_id="paho", transport=transport, protocol=int(version))
if hasattr(mqtt, "CallbackAPIVersion"):
    arguments["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION1
client = mqtt.Client(**arguments)
context = ssl.create_default_context(cafile=ca)
if cert:
    context.load_cert_chain(cert, key)
if alpn:
    context.set_alpn_protocols([alpn])
client.tls_set_context(context)
if user:
    client.username_pw_set(user, password)


def on_connect(client, userdata, flags, code, properties=None):
    if code != 0:
        sys.exit("CONNACK %s" % code)
    client.subscribe("paho/topic", 1)


def on_subscribe(client, userdata, mid, granted, properties=None):
    client.publish("paho/topic", "hello", 1)


def on_message(client, userdata, message):
    print(message.payload.decode())
    client.disconnect()


client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
client.connect("localhost", int(port))
client.loop_forever(retry_first_connection=False)
