"""The checks of tools/test-manifests."""
import pathlib
import shutil
import subprocess
import sys
import tempfile

import helm_python
import kubernetes_validate
import yaml

# the oldest version that the chart allows and whose schemas are published, and the newest
VERSIONS = ['1.25', '1.29', kubernetes_validate.latest_version()]
# fields that an older API does not have: a sidecar is an init container that is always restarted
SINCE = {'watched-by-sidecar': '1.29'}
# all that a pod may have: the capabilities of its containers, and whether it sees the node's processes
PRIVILEGES = {
    'lanner': ({'BPF', 'PERFMON', 'SYS_PTRACE'}, True),
    'watched': (set(), False),
    'watched-by-sidecar': ({'SYS_PTRACE'}, False),
}
CHART = 'deploy/helm/lanner'
faults = []


def fault(what):
    faults.append(what)
    print('test-manifests: ' + what, file=sys.stderr)


def number(version):
    return [int(part) for part in version.split('.')[:2]]


def validate(where, thing):
    name = thing['metadata']['name']
    for version in VERSIONS:
        if number(version) < number(SINCE.get(name, version)):
            continue
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except Exception as error:
            fault('%s: %s %s is no object of Kubernetes %s: %s' % (where, thing['kind'], name, version, str(error).splitlines()[0]))


def pod_of(thing):
    if thing['kind'] == 'Pod':
        return thing['spec']
    return thing.get('spec', {}).get('template', {}).get('spec')


def least_privilege(where, thing, allowed):
    pod = pod_of(thing)
    capabilities, host_pid = allowed
    found = set()
    for container in pod.get('initContainers', []) + pod['containers']:
        context = container.get('securityContext', {})
        found |= set(context.get('capabilities', {}).get('add', []))
        for key, expected in [('allowPrivilegeEscalation', False), ('readOnlyRootFilesystem', True)]:
            if context.get(key) is not expected:
                fault('%s: container %s: %s is not %s' % (where, container['name'], key, expected))
        if context.get('privileged') or 'ALL' not in context.get('capabilities', {}).get('drop', []):
            fault('%s: container %s keeps capabilities' % (where, container['name']))
    if found != capabilities:
        fault('%s: the capabilities are %s, not %s' % (where, sorted(found), sorted(capabilities)))
    if pod.get('hostPID', False) != host_pid or pod.get('hostNetwork') or pod.get('hostIPC'):
        fault('%s: other namespaces of the node than documented' % where)
    for volume in pod.get('volumes', []):
        if 'hostPath' in volume and not host_pid:
            fault('%s: volume %s is of the node' % (where, volume['name']))
    for container in pod['containers']:
        for mount in container.get('volumeMounts', []):
            if not mount.get('readOnly'):
                fault('%s: %s can be written' % (where, mount['mountPath']))


def kustomized(folder):
    tool = [shutil.which('kubectl'), 'kustomize'] if shutil.which('kubectl') else ['kustomize', 'build']
    text = subprocess.run(tool + [folder], check=True, stdout=subprocess.PIPE).stdout
    return list(yaml.safe_load_all(text))


def rendered(values):
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name='lanner', namespace='lanner')
    things = [thing for text in files.values() for thing in yaml.safe_load_all(text)]
    return [thing for thing in things if isinstance(thing, dict)]


def one(things, kind):
    found = [thing for thing in things if thing['kind'] == kind]
    assert len(found) == 1, (kind, len(found))
    return found[0]


def refused(values):
    try:
        rendered(values)
    except helm_python.HelmError:
        return
    fault('the chart takes %s' % values)


def main():
    base = kustomized('deploy/kubernetes')
    chart = rendered({})
    for where, things in [('deploy/kubernetes', base), (CHART, chart)]:
        for thing in things:
            validate(where, thing)
        least_privilege(where, one(things, 'DaemonSet'), PRIVILEGES['lanner'])

    # the chart's defaults are the base
    pods = [pod_of(one(things, 'DaemonSet')) for things in (base, chart)]
    for pod in pods:
        pod['volumes'] = [v for v in pod['volumes'] if v.pop('configMap', None) is None]
        pod['containers'][0].pop('imagePullPolicy', None)
    if pods[0] != pods[1]:
        fault('%s and deploy/kubernetes make different pods:\n%s\n%s' % (CHART, pods[1], pods[0]))
    configs = [yaml.safe_load(one(things, 'ConfigMap')['data']['lanner.yaml']) for things in (base, chart)]
    if configs[0] != configs[1]:
        fault('%s and deploy/kubernetes make different configurations' % CHART)

    # values
    rules = '- list: mine\n  items: [a, b]\n'
    old = ['SYS_ADMIN', 'SYS_PTRACE', 'SYS_RESOURCE']
    things = rendered({
        'rules': rules, 'capabilities': old, 'seccompProfile': 'Unconfined', 'extraArgs': ['--driver', 'ebpf-legacy'],
        'imagePullSecrets': [{'name': 'registry'}], 'priorityClassName': 'system-node-critical', 'podAnnotations': {'a/b': 'c'},
        'image': {'repository': 'registry.example/lanner', 'tag': 'x'},
        'config': {'webserver': {'enabled': False}},
    })
    for thing in things:
        validate(CHART + ' with values', thing)
    daemon_set = one(things, 'DaemonSet')
    container = pod_of(daemon_set)['containers'][0]
    if yaml.safe_load(one(things, 'ConfigMap')['data']['local_rules.yaml']) != yaml.safe_load(rules):
        fault('the chart changes rules')
    if container['securityContext']['capabilities']['add'] != old or container['image'] != 'registry.example/lanner:x':
        fault('the chart ignores values')
    if container['args'][-2:] != ['--driver', 'ebpf-legacy'] or 'livenessProbe' in container:
        fault('the chart ignores extraArgs, or asks a web server that is off')
    sums = [one(t, 'DaemonSet')['spec']['template']['metadata']['annotations']['checksum/config'] for t in (chart, things)]
    if sums[0] == sums[1]:
        fault('a changed configuration does not start the pods again')
    refused({'seccompProfile': 'None'})
    refused({'capabilities': 'SYS_ADMIN'})
    refused({'imagee': {}})
    lint = helm_python.lint(CHART)
    # 1 is a hint, such as that there is no icon
    for message in lint['messages']:
        if message['severity'] > 1:
            fault('helm lint: %s' % message)

    # an overlay of a user's
    with tempfile.TemporaryDirectory(dir='target') as folder:
        folder = pathlib.Path(folder)
        (folder / 'local_rules.yaml').write_text(rules)
        (folder / 'kustomization.yaml').write_text(yaml.safe_dump({
            'resources': ['../../deploy/kubernetes'], 'namespace': 'lanner',
            'configMapGenerator': [{'name': 'lanner', 'behavior': 'merge', 'files': ['local_rules.yaml']}],
            'images': [{'name': 'lanner', 'newName': 'registry.example/lanner', 'newTag': 'x'}],
        }))
        overlay = kustomized(str(folder))
    config = one(overlay, 'ConfigMap')
    if config['data']['local_rules.yaml'] != rules or 'lanner.yaml' not in config['data']:
        fault('an overlay cannot replace the rules')
    pod = pod_of(one(overlay, 'DaemonSet'))
    if pod['containers'][0]['image'] != 'registry.example/lanner:x':
        fault('an overlay cannot replace the image')
    if config['metadata']['name'] == one(base, 'ConfigMap')['metadata']['name']:
        fault('a changed configuration does not start the pods again')

    for path in sorted(pathlib.Path('deploy/examples').glob('*.yaml')):
        for thing in yaml.safe_load_all(path.read_text()):
            validate(str(path), thing)
            least_privilege(str(path), thing, PRIVILEGES[thing['metadata']['name']])
    if faults:
        sys.exit(1)
    print('test-manifests: the manifests, the chart and the examples are valid for Kubernetes %s: ok' % ', '.join(VERSIONS))


main()
