import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLinuxNet, type NetOp } from '@cni-offload/linux'
import { silentLogger, systemClock } from '@cni-offload/sdk'
import { PortBench } from '@cni-offload/testing'
import { type AdapterFixture, adapterSuite, type Tamper } from '@cni-offload/testing/adapter'
import { hello } from '../src/index.ts'

async function setup(): Promise<AdapterFixture> {
  const net = createLinuxNet()
  const bench = await PortBench.create({ net, ports: 6 })
  const stateDir = await mkdtemp(join(tmpdir(), 'hello-'))
  const options = { netns: bench.dpuNetns, pools: { ipv4: { subnet: '10.88.0.0/29' }, ipv6: { subnet: 'fd00:88::/64' } } }
  const tamper = (title: string, change: Omit<Extract<NetOp, { op: 'link.set' }>, 'op' | 'dev'>): Tamper => ({
    title,
    run: ({ request }) => net.apply(bench.dpuNetns, [{ op: 'link.set', dev: request.port.name, ...change }]),
  })
  return {
    net,
    ports: bench.ports,
    network: 'hello',
    netconf: { cniVersion: '1.1.0', name: 'hello', type: 'offload-cni' },
    // Five addresses: a /29 has six hosts and one of them is the gateway.
    capacity: 5,
    requestableIps: ['10.88.0.5/29', 'fd00:88::77/64'],
    create: () => hello(options).create({ log: silentLogger, clock: systemClock, stateDir }),
    process: { plugin: { plugin: import.meta.resolve('../src/index.ts'), export: 'hello', options }, stateDir },
    loseState: () => rm(stateDir, { recursive: true }),
    tampers: [
      tamper('took the port out of the bridge', { master: null }),
      tamper('took the port down', { up: false }),
      tamper('changed the MTU', { mtu: 1400 }),
    ],
    async [Symbol.asyncDispose]() {
      await bench[Symbol.asyncDispose]()
      await net[Symbol.asyncDispose]()
      await rm(stateDir, { recursive: true, force: true })
    },
  }
}

adapterSuite({ name: 'hello', setup })
