import type { NetOp } from '@cni-offload/linux'
import { PORT_IN_PROXY } from '@cni-offload/linux/splice'
import { type AdapterFixture, adapterSuite, type Tamper } from '@cni-offload/testing/adapter'
import { lxcName } from '../src/agent-api/identity.ts'
import { POD_END } from '../src/agent-api/pod-device.ts'
import { Lab } from './lab.ts'

type Variant = 'splice' | 'agent-api' | 'agent-api over the port'

const EVERYTHING = process.env['E2E_EVERYTHING'] === '1'

async function setup(variant: Variant): Promise<AdapterFixture> {
  const raw = variant === 'agent-api over the port'
  const lab = await Lab.create(4, {
    ranges: { ipv4: '10.66.0.0/29', ipv6: 'fd66::/125' },
    config: { routeMtu: 0, ...(raw ? { hostRouting: 'Legacy' } : {}) },
    ...(raw ? { version: '1.19.4' } : {}),
  })
  // Six hosts, one of them the router, and two belong to others.
  lab.agent.occupy('default/other', 2)
  const options = variant === 'splice' ? await lab.splice() : raw ? lab.overPorts : lab.agentApi
  const podEnd = variant === 'splice' ? 'eth0' : POD_END
  const tamper = (title: string, ops: readonly NetOp[]): Tamper => ({
    title,
    run: ({ request }) => {
      const index = lab.bench.ports.findIndex(({ port }) => port.name === request.port.name)
      return lab.net.apply(lab.proxy(index).path, ops)
    },
  })
  const device = (title: string, op: (dev: string) => NetOp): Tamper => ({
    title,
    run: ({ request }) => lab.net.apply(lab.bench.dpuNetns, [op(raw ? request.port.name : lxcName(request.key))]),
  })
  const endpoint: Tamper = { title: 'deleted the endpoint', run: ({ request }) => lab.agent.forget(request.key.containerId) }
  return {
    net: lab.net,
    ports: lab.bench.ports,
    network: 'podnet',
    netconf: { cniVersion: '1.1.0', name: 'podnet', type: 'offload-cni' },
    capacity: 3,
    create: () => lab.configured(options),
    ...(variant === 'splice' && !EVERYTHING
      ? {}
      : {
          process: {
            plugin: { plugin: import.meta.resolve('../src/index.ts'), export: 'cilium', options },
            stateDir: lab.deps.stateDir,
          },
        }),
    loseState: () => lab.forgetState(),
    tampers: raw
      ? [
          device('took the port down', (dev) => ({ op: 'link.set', dev, up: false })),
          device('changed the MTU', (dev) => ({ op: 'link.set', dev, mtu: 1400 })),
          device('changed the MAC', (dev) => ({ op: 'link.set', dev, mac: '02:00:00:00:99:99' })),
          endpoint,
        ]
      : [
          device('deleted the device', (dev) => ({ op: 'link.del', dev })),
          device('took the device down', (dev) => ({ op: 'link.set', dev, up: false })),
          tamper('cut the way out', [{ op: 'redirect.clear', dev: podEnd }]),
          tamper('cut the way back', [{ op: 'redirect.clear', dev: PORT_IN_PROXY }]),
          tamper('took the port down', [{ op: 'link.set', dev: PORT_IN_PROXY, up: false }]),
          tamper('changed the MAC', [{ op: 'link.set', dev: podEnd, mac: '02:00:00:00:99:99' }]),
          endpoint,
        ],
    [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose](),
  }
}

/** In mode splice a process dies at the steps of adapter-delegate, whose own tests do that, too. */
const VARIANTS = ['splice', 'agent-api', ...(EVERYTHING ? (['agent-api over the port'] as const) : [])] as const

for (const variant of VARIANTS) adapterSuite({ name: `cilium in mode ${variant}`, setup: () => setup(variant), timeoutMs: 60_000 })
