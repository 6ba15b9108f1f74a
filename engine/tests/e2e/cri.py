"""A client of CRI (runtime.v1 of Kubernetes' cri-api, api.proto): makes a pod with one container, or removes it.

cri.py SOCKET run IMAGE CGROUP_PARENT COMMAND...    prints the pod's and the container's id
cri.py SOCKET remove POD
"""

import sys

import grpc


def number(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(key, value):
    """A field: a number, a text, an embedded message, or a map, whose entries are messages."""
    if isinstance(value, int):
        return number(key << 3) + number(value)
    if isinstance(value, dict):
        return b"".join(field(key, message((1, name), (2, text))) for name, text in value.items())
    if isinstance(value, str):
        value = value.encode()
    return number(key << 3 | 2) + number(len(value)) + value


def message(*fields):
    return b"".join(field(key, value) for key, value in fields)


def text(answer):
    """Field 1, a text, of an answer that begins with it."""
    assert answer[0] == 1 << 3 | 2
    return answer[2:2 + answer[1]].decode()


def call(channel, method, request):
    return channel.unary_unary(f"/runtime.v1.RuntimeService/{method}")(request, timeout=60)


def run(channel, image, parent, command):
    node = 2
    namespaces = message((1, node), (2, 1), (3, 1))
    sandbox = message(
        (1, message((1, "web-0"), (2, "2b0e4b6e-0000-4000-8000-000000000001"), (3, "shop"), (4, 0))),
        (6, {"app": "web"}),
        (8, message((1, parent), (2, message((1, namespaces))))),
    )
    pod = text(call(channel, "RunPodSandbox", message((1, sandbox))))
    container = message(
        (1, message((1, "server"), (2, 0))),
        (2, message((1, image))),
        *((3, word) for word in command),
        (9, {"tier": "front"}),
        (15, message((2, message((3, namespaces))))),
    )
    made = text(call(channel, "CreateContainer", message((1, pod), (2, container), (3, sandbox))))
    call(channel, "StartContainer", message((1, made)))
    print(pod, made)


def remove(channel, pod):
    call(channel, "StopPodSandbox", message((1, pod)))
    call(channel, "RemovePodSandbox", message((1, pod)))


with grpc.insecure_channel("unix://" + sys.argv[1]) as way:
    if sys.argv[2] == "run":
        run(way, sys.argv[3], sys.argv[4], sys.argv[5:])
    else:
        remove(way, sys.argv[3])
