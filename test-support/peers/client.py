"""A gRPC client for the tests. It is written from the wire format, without generated code.

client.py TARGET [--ca FILE] [--cert FILE] [--key FILE] MODE ...

  version           prints the version
  get               prints the alerts of Falco's `get`
  sub COUNT         prints `ready`, then COUNT alerts of Falco's `sub` as they come
  own COUNT REQUEST like sub, but from our own service; REQUEST is JSON; with COUNT 0 until the stream ends
  many FAST STUCK   connects FAST clients that read and STUCK clients that do not; prints `ready`, then `all N` each time
                    that every fast client has read N alerts in all; after a line on standard input, the stuck clients
                    read until the alert of the rule `last`; at the end prints a summary
"""

import argparse
import asyncio
import json
import sys

import grpc
from wire import field, parse, text


def time(fields):
    stamp = parse(fields.get(1, [b""])[-1])
    return stamp.get(1, [0])[-1] * 10**9 + stamp.get(2, [0])[-1]


def pairs(fields, number):
    entries = [parse(entry) for entry in fields.get(number, [])]
    return {text(entry, 1): entry.get(2, [b""])[-1] for entry in entries}


def falco(data):
    fields = parse(data)
    return {
        "time": time(fields),
        "priority": fields.get(2, [0])[-1],
        "rule": text(fields, 4),
        "output": text(fields, 5),
        "output_fields": {name: value.decode() for name, value in pairs(fields, 6).items()},
        "hostname": text(fields, 7),
        "tags": [tag.decode() for tag in fields.get(8, [])],
        "source": text(fields, 9),
    }


def own(data):
    fields = parse(data)
    message = {"cursor": text(fields, 1)}
    if 2 in fields:
        alert = parse(fields[2][-1])
        message["alert"] = {
            "time": time(alert),
            "priority": alert.get(2, [0])[-1],
            "rule": text(alert, 3),
            "source": text(alert, 4),
            "hostname": text(alert, 5),
            "tags": [tag.decode() for tag in alert.get(6, [])],
            "text": text(alert, 7),
            "json": text(alert, 8),
            "fields": {
                name: {number: repr(value[-1]) for number, value in parse(data).items()}
                for name, data in pairs(alert, 9).items()
            },
        }
    if 3 in fields:
        loss = parse(fields[3][-1])
        message["loss"] = {"cause": loss.get(1, [0])[-1], "count": loss.get(2, [0])[-1]}
    return message


def request(wanted):
    numbers = {"after": 1, "priority": 2, "rules": 3, "tags": 4, "sources": 5, "no_follow": 6}
    out = b""
    for name, value in wanted.items():
        for one in value if isinstance(value, list) else [value]:
            out += field(numbers[name], one)
    return out


SUB = "/falco.outputs.service/sub"
OWN = "/lanner.alerts.v1.Alerts/Subscribe"


def say(value):
    print(value if isinstance(value, str) else json.dumps(value), flush=True)


def follow(call, count, decode):
    call.initial_metadata()
    say("ready")
    for seen, data in enumerate(call, 1):
        say(decode(data))
        if seen == count:
            call.cancel()
            return


def one(channel, args):
    if args.mode == "version":
        fields = parse(channel.unary_unary("/falco.version.service/version")(b""))
        number = lambda part: fields.get(part, [0])[-1]
        engine = [text(fields, 11), [number(part) for part in (9, 7, 10)]]
        say({"version": text(fields, 1), "parts": [number(part) for part in (2, 3, 4)], "engine": engine})
    elif args.mode == "get":
        for data in channel.unary_stream("/falco.outputs.service/get")(b""):
            say(falco(data))
    elif args.mode == "sub":
        follow(channel.stream_stream(SUB)(iter([b""])), int(args.rest[0]), falco)
    elif args.mode == "own":
        wanted = request(json.loads(args.rest[1]))
        follow(channel.unary_stream(OWN)(wanted), int(args.rest[0]), own)


async def many(target, fast, stuck):
    # Keeps the HTTP/2 windows small, so that a stuck client holds few alerts.
    options = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]
    seen = [0] * fast
    wake, reported = asyncio.Event(), 0

    async def reader(at):
        nonlocal reported
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            call = channel.stream_stream(SUB)(iter([b""]))
            await call.initial_metadata()
            started.release()
            async for data in call:
                seen[at] += 1
                if min(seen) > reported and min(seen) % 50 == 0:
                    reported = min(seen)
                    say(f"all {reported}")
                if text(parse(data), 4) == "last":
                    return

    async def sleeper():
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            call = channel.unary_stream(OWN)(b"")
            await call.initial_metadata()
            started.release()
            await wake.wait()
            alerts, lost, notices = 0, 0, 0
            async for data in call:
                fields = parse(data)
                if 3 in fields:
                    notices += 1
                    lost += parse(fields[3][-1]).get(2, [0])[-1]
                    continue
                alerts += 1
                if text(parse(fields[2][-1]), 3) == "last":
                    return {"alerts": alerts, "lost": lost, "notices": notices}

    started = asyncio.Semaphore(0)
    readers = [asyncio.create_task(reader(at)) for at in range(fast)]
    sleepers = [asyncio.create_task(sleeper()) for _ in range(stuck)]
    for _ in range(fast + stuck):
        await started.acquire()
    say("ready")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await asyncio.gather(*readers)
    wake.set()
    say({"fast": seen, "stuck": await asyncio.gather(*sleepers)})


parser = argparse.ArgumentParser()
for name in ("--ca", "--cert", "--key"):
    parser.add_argument(name, type=lambda path: open(path, "rb").read())
parser.add_argument("target")
parser.add_argument("mode")
parser.add_argument("rest", nargs="*")
args = parser.parse_args()
try:
    if args.mode == "many":
        asyncio.run(many(args.target, int(args.rest[0]), int(args.rest[1])))
    elif args.ca:
        credentials = grpc.ssl_channel_credentials(args.ca, args.key, args.cert)
        options = [("grpc.ssl_target_name_override", "localhost")]
        one(grpc.secure_channel(args.target, credentials, options), args)
    else:
        one(grpc.insecure_channel(args.target), args)
except grpc.RpcError as error:
    say({"error": error.code().name, "details": error.details()})
    sys.exit(1)
