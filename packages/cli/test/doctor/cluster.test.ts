import { FakeKubectl, forbidden, type KubectlReply, notFound, prints, unknownKind, unreachable } from '@cni-offload/testing/kubectl'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { clusterChecks } from '../../src/doctor/cilium/cluster-checks.ts'
import { configMapChecks } from '../../src/doctor/cilium/config-map.ts'
import { Kubectl } from '../../src/kubectl/kubectl.ts'
import { diagnose, states } from './finding.ts'

const NODE = {
  status: {
    addresses: [
      { type: 'InternalIP', address: '192.0.2.7' },
      { type: 'Hostname', address: 'host-1' },
    ],
  },
}
const FIT = {
  'datapath-mode': 'veth',
  'cni-chaining-mode': 'none',
  ipam: 'kubernetes',
  'bpf-lb-sock-hostns-only': 'true',
  'kube-proxy-replacement': 'true',
  devices: 'eth0',
  'direct-routing-device': 'eth0',
  'enable-health-checking': 'false',
  'enable-endpoint-health-checking': 'false',
  'cni-exclusive': 'false',
  'enable-l7-proxy': 'true',
  'api-rate-limit': 'endpoint-create=rate-limit:5/s',
  'remove-cilium-node-taints': 'false',
  'set-cilium-node-taints': 'false',
  'set-cilium-is-up-condition': 'false',
}

/** What a cluster in order answers. */
const CLUSTER: Readonly<Record<string, KubectlReply>> = {
  'version -o json': prints({ serverVersion: { gitVersion: 'v1.34.0' } }),
  'get node host-1 -o json': prints(NODE),
  'get ciliumnodes.cilium.io host-1 -o json': prints({ spec: { addresses: [{ type: 'InternalIP', ip: '192.0.2.7' }] } }),
  'get pods -A -l k8s-app=cilium --field-selector spec.nodeName=host-1 -o json': prints({ items: [] }),
  'get configmap cilium-config -n kube-system -o json': prints({ data: FIT }),
}

let fake: FakeKubectl
beforeEach(async () => {
  fake = await FakeKubectl.start()
})
afterEach(async () => {
  await fake[Symbol.asyncDispose]()
})

const look = async (answers: Readonly<Record<string, KubectlReply>> = {}, asked = true): ReturnType<typeof diagnose> => {
  for (const [call, reply] of Object.entries({ ...CLUSTER, ...answers })) fake.expect(call, reply)
  const kubectl = new Kubectl({ executable: fake.executable, timeoutMs: 60_000 })
  const cluster = clusterChecks({ kubectl, asked, node: 'host-1', addresses: ['127.0.0.1', '192.0.2.7'] })
  return await diagnose([...cluster, ...configMapChecks(kubectl, 'kube-system', ['k8s.api'])])
}

const lookAtConfigMap = async (data: Readonly<Record<string, string | undefined>>): ReturnType<typeof diagnose> => {
  fake.expect('get configmap cilium-config -n cilium -o json', prints({ data }))
  return await diagnose(configMapChecks(new Kubectl({ executable: fake.executable, timeoutMs: 60_000 }), 'cilium', []))
}

describe('the cluster', { timeout: 120_000 }, () => {
  it('that is made for an agent on the DPU is in order', async () => {
    const results = await look()
    expect(Object.values(states(results))).toEqual(Object.keys(results).map(() => 'ok'))
    expect(results['k8s.api']?.seen).toBe('Kubernetes v1.34.0')
    expect(results['k8s.cilium-node']?.seen).toBe('InternalIP 192.0.2.7')
    fake.verify()
  })

  const pod = (name: string, phase: string): object => ({ metadata: { namespace: 'kube-system', name }, status: { phase } })
  const cases: readonly (readonly [string, string, string, KubectlReply, string, string])[] = [
    ['k8s.node', 'fail', 'get node host-1 -o json', notFound('nodes', 'host-1'), 'no node host-1', 'nodeName'],
    [
      'k8s.cilium-node',
      'fail',
      'get ciliumnodes.cilium.io host-1 -o json',
      notFound('ciliumnodes.cilium.io', 'host-1'),
      'no CiliumNode host-1',
      'K8S_NODE_NAME=host-1',
    ],
    [
      'k8s.second-agent',
      'fail',
      'get pods -A -l k8s-app=cilium --field-selector spec.nodeName=host-1 -o json',
      prints({ items: [pod('cilium-a', 'Running'), pod('cilium-b', 'Succeeded')] }),
      'kube-system/cilium-a (Running)',
      'anti-affinity',
    ],
    [
      'k8s.taints',
      'fail',
      'get node host-1 -o json',
      prints({ ...NODE, spec: { taints: [{ key: 'node.cilium.io/agent-not-ready', effect: 'NoExecute' }] } }),
      'node.cilium.io/agent-not-ready:NoExecute',
      'kubectl taint node host-1 node.cilium.io/agent-not-ready-',
    ],
    [
      'k8s.taints',
      'fail',
      'get node host-1 -o json',
      prints({ status: { ...NODE.status, conditions: [{ type: 'NetworkUnavailable', status: 'True', reason: 'NoRouteCreated' }] } }),
      'NoRouteCreated',
      'operator.setNodeNetworkStatus',
    ],
    [
      'k8s.node-address',
      'warn',
      'get node host-1 -o json',
      prints({ status: { addresses: [{ type: 'InternalIP', address: '192.0.2.8' }] } }),
      '192.0.2.8',
      '--node-ip',
    ],
    ['k8s.node-address', 'fail', 'get node host-1 -o json', prints({}), 'no InternalIP', '--node-ip'],
  ]
  it.each(cases)('%s: %s, with value and remedy (%s)', async (id, state, call, answer, seen, remedy) => {
    const results = await look({ [call]: answer })
    expect(results[id]).toMatchObject({
      state,
      seen: expect.stringContaining(seen) as string,
      remedy: expect.stringContaining(remedy) as string,
    })
  })

  it('that cannot be asked is a failure only if somebody wanted it asked', async () => {
    const { 'k8s.api': api, ...others } = await look({ 'version -o json': unreachable() })
    expect(api).toMatchObject({ state: 'fail', remedy: expect.stringContaining('--kubeconfig') as string })
    expect(new Set(Object.values(states(others)))).toEqual(new Set(['skipped']))
    fake.expect('version -o json', unreachable())
    expect((await look({}, false))['k8s.api']).toMatchObject({ state: 'skipped' })
  })

  it('is skipped where there is no kubectl and nobody has asked for it', async () => {
    const kubectl = new Kubectl({ executable: '/nonexistent/kubectl' })
    const subject = { kubectl, node: 'host-1', addresses: [] }
    expect((await diagnose(clusterChecks({ ...subject, asked: false })))['k8s.api']).toMatchObject({
      state: 'skipped',
      remedy: expect.stringContaining('--kubectl') as string,
    })
    expect((await diagnose(clusterChecks({ ...subject, asked: true })))['k8s.api']).toMatchObject({ state: 'fail' })
  })

  it('that refuses one thing tells the others', async () => {
    const results = await look({
      'get ciliumnodes.cilium.io host-1 -o json': unknownKind('ciliumnodes'),
      'get configmap cilium-config -n kube-system -o json': forbidden('get', 'configmaps', 'kube-system'),
    })
    expect(results['k8s.cilium-node']).toMatchObject({ state: 'fail', remedy: expect.stringContaining('Is Cilium installed') as string })
    expect(results['k8s.cilium-config']).toMatchObject({ state: 'fail', remedy: expect.stringContaining('right') as string })
    expect(results['k8s.cilium-config.devices']).toMatchObject({ state: 'skipped' })
    expect(results).toMatchObject({ 'k8s.node': { state: 'ok' }, 'k8s.second-agent': { state: 'ok' } })
  })

  const settings: readonly (readonly [string, string | undefined, string, string])[] = [
    ['datapath-mode', 'netkit', 'fail', 'bpf.datapathMode=veth'],
    ['cni-chaining-mode', 'aws-cni', 'fail', 'cni.chainingMode=none'],
    ['ipam', 'delegated-plugin', 'warn', 'ipam.mode'],
    ['bpf-lb-sock-hostns-only', undefined, 'fail', 'socketLB.hostNamespaceOnly=true'],
    ['kube-proxy-replacement', 'false', 'warn', 'kubeProxyReplacement=true'],
    ['devices', undefined, 'warn', 'devices='],
    ['direct-routing-device', '', 'warn', 'nodePort.directRoutingDevice'],
    ['enable-health-checking', undefined, 'warn', 'healthChecking=false'],
    ['enable-endpoint-health-checking', 'true', 'warn', 'endpointHealthChecking.enabled=false'],
    ['cni-exclusive', 'true', 'warn', 'cni.exclusive=false'],
    ['enable-l7-proxy', 'false', 'warn', 'l7Proxy=true'],
    ['api-rate-limit', undefined, 'warn', 'apiRateLimit='],
    ['remove-cilium-node-taints', undefined, 'warn', 'operator.removeNodeTaints=false'],
    ['set-cilium-node-taints', 'true', 'warn', 'operator.setNodeTaints=false'],
    ['set-cilium-is-up-condition', 'true', 'warn', 'operator.setNodeNetworkStatus=false'],
  ]
  it('has a ConfigMap of which each setting is told with its value and what to set', async () => {
    const results = await lookAtConfigMap({ ...FIT, ...Object.fromEntries(settings.map(([key, value]) => [key, value])) })
    for (const [key, value, state, remedy] of settings)
      expect(results[`k8s.cilium-config.${key}`]).toMatchObject({
        state,
        seen: value === undefined ? `${key} is not set` : `${key} = ${value}`,
        remedy: expect.stringContaining(remedy) as string,
      })
    expect(settings.map(([key]) => key)).toEqual(Object.keys(FIT))
  })

  it('has a ConfigMap in which what is right by default may be left out', async () => {
    const { 'datapath-mode': _1, 'cni-chaining-mode': _2, ipam: _3, 'enable-l7-proxy': _4, 'cni-exclusive': _5, ...rest } = FIT
    const results = await lookAtConfigMap(rest)
    expect(Object.values(states(results))).toEqual(Object.keys(results).map(() => 'ok'))
  })
})
