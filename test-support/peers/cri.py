"""A client of CRI (runtime.v1 of Kubernetes' cri-api, api.proto): creates or removes a pod with one container.

cri.py SOCKET run IMAGE CGROUP_PARENT COMMAND...    prints the ids of the pod and the container
cri.py SOCKET remove POD
"""

import sys

import grpc
from wire import message, parse, text


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
    pod = text(parse(call(channel, "RunPodSandbox", message((1, sandbox)))), 1)
    container = message(
        (1, message((1, "server"), (2, 0))),
        (2, message((1, image))),
        *((3, word) for word in command),
        (9, {"tier": "front"}),
        (15, message((2, message((3, namespaces))))),
    )
    answer = call(channel, "CreateContainer", message((1, pod), (2, container), (3, sandbox)))
    made = text(parse(answer), 1)
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
