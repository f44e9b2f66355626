import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ClusterView, FakeCluster } from '@cni-offload/testing/cilium'
import { afterEach, beforeEach, expect, it } from 'vitest'

let dir: string
let cluster: FakeCluster

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cluster-'))
  cluster = new FakeCluster(join(dir, 'cluster'))
  await cluster.open()
})
afterEach(() => rm(dir, { recursive: true, force: true }))

const pod = (name: string, more: object = {}): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, labels: { app: name } },
  spec: { containers: [], ...more },
})
const policy = (spec: object): object => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNetworkPolicy',
  metadata: { namespace: 'a', name: 'p' },
  spec,
})

it('a policy is for pods of its namespace, and lets in those of others only by name', async () => {
  const fromEndpoints = [{ matchLabels: { app: 'web' } }, { matchLabels: { 'k8s:io.kubernetes.pod.namespace': 'b', 'any:app': 'web' } }]
  await cluster.apply([policy({ endpointSelector: {}, ingress: [{ fromEndpoints }] })])
  expect((await cluster.view('n1')).policies).toEqual([
    {
      endpointSelector: { 'io.kubernetes.pod.namespace': 'a' },
      ingress: [
        {
          fromEndpoints: [
            { 'io.kubernetes.pod.namespace': 'a', app: 'web' },
            { 'io.kubernetes.pod.namespace': 'b', app: 'web' },
          ],
        },
      ],
    },
  ])
})

it('whoever follows it learns of every change, and of endpoints of other nodes but not of its own', async () => {
  const stop = new AbortController()
  const seen: ClusterView[] = []
  const following = cluster.follow('n1', stop.signal, (view) => Promise.resolve(void seen.push(view)))
  const last = (): ClusterView | undefined => seen.at(-1)
  const within = { timeout: 20_000, interval: 10 }
  await expect.poll(last, within).toEqual({ pods: [], policies: [], elsewhere: [] })
  expect(await cluster.apply([pod('a', { nodeName: 'n1' })])).toEqual(['Pod default/a'])
  await expect
    .poll(() => last()?.pods, within)
    .toEqual([{ namespace: 'default', name: 'a', uid: '', nodeName: 'n1', labels: { app: 'a' } }])
  const endpoint = { identity: { id: 1024, labels: ['k8s:app=b'] }, ips: ['10.0.2.2'] }
  await cluster.publish('n1', [{ ...endpoint, ips: ['10.0.1.2'] }])
  await cluster.publish('n2', [endpoint])
  await expect.poll(() => last()?.elsewhere, within).toEqual([endpoint])
  await cluster.delete([pod('a')])
  await expect.poll(() => last()?.pods, within).toEqual([])
  stop.abort()
  await following
})

it.each([
  ['a service', { apiVersion: 'v1', kind: 'Service', metadata: { name: 's' } }],
  ['rules for what goes out', policy({ endpointSelector: {}, ingress: [], egress: [] })],
  ['expressions', policy({ endpointSelector: { matchExpressions: [] }, ingress: [] })],
  ['a port by name', policy({ endpointSelector: {}, ingress: [{ toPorts: [{ ports: [{ port: 'http', protocol: 'TCP' }] }] }] })],
  ['a name that leads out of the folder', pod('../x')],
])('refuses %s, and adds nothing of what came with it', async (_what, manifest) => {
  await expect(cluster.apply([pod('a'), manifest])).rejects.toMatchObject({ code: 'INVALID_CONFIG' })
  expect(await cluster.view('n1')).toEqual({ pods: [], policies: [], elsewhere: [] })
})
