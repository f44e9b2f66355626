import { rm } from 'node:fs/promises'
import type { NetOp } from '@cni-offload/linux'
import { type AdapterFixture, adapterSuite, type Tamper } from '@cni-offload/testing/adapter'
import { delegate, type PluginConf, PORT_IN_PROXY } from '../src/index.ts'
import { CNI_PATH, Lab } from './lab.ts'

/** A stock list whose pool holds three pods. */
const plugins = (lab: Lab): PluginConf[] => [
  lab.bridge({
    capabilities: { ips: true },
    ipam: {
      ...lab.hostLocal(),
      ranges: [[{ subnet: '10.77.0.0/24', rangeStart: '10.77.0.10', rangeEnd: '10.77.0.12' }], [{ subnet: 'fd77::/64' }]],
    },
  }),
  { type: 'tuning', capabilities: { mac: true }, sysctl: { 'net.core.somaxconn': '500' } },
]

async function setup(): Promise<AdapterFixture> {
  const lab = await Lab.create(4)
  const tamper = (title: string, ops: (ifName: string) => readonly NetOp[]): Tamper => ({
    title,
    run: ({ request }) => {
      const index = lab.bench.ports.findIndex(({ port }) => port.name === request.port.name)
      return lab.net.apply(lab.proxy(index).path, ops(request.key.ifName))
    },
  })
  return {
    net: lab.net,
    ports: lab.bench.ports,
    network: 'podnet',
    netconf: { cniVersion: '1.1.0', name: 'podnet', type: 'offload-cni' },
    capacity: 3,
    requestableIps: ['10.77.0.11/24', 'fd77::77/64'],
    create: () =>
      delegate({
        conflist: { cniVersion: '1.0.0', name: 'labnet', plugins: plugins(lab) },
        cniPath: [CNI_PATH],
        proxyPrefix: lab.prefix,
        netns: lab.bench.dpuNetns,
      }).create(lab.deps),
    loseState: () => rm(lab.deps.stateDir, { recursive: true }),
    tampers: [
      tamper('deleted what the CNI made', (dev) => [{ op: 'link.del', dev }]),
      tamper('cut the way out', (dev) => [{ op: 'redirect.clear', dev }]),
      tamper('cut the way back', () => [{ op: 'redirect.clear', dev: PORT_IN_PROXY }]),
      tamper('took the port down', () => [{ op: 'link.set', dev: PORT_IN_PROXY, up: false }]),
      tamper('changed the MAC', (dev) => [{ op: 'link.set', dev, mac: '02:00:00:00:99:99' }]),
      tamper('removed the addresses', (dev) => [{ op: 'addr.flush', dev }]),
    ],
    [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose](),
  }
}

adapterSuite({ name: 'delegate over bridge, tuning and host-local', setup, timeoutMs: 60_000 })
