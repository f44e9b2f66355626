import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLinuxNet, type NetOp } from '@cni-offload/linux'
import { Assembler, VERDICT } from '@cni-offload/linux/bpf'
import { type AttachResult, silentLogger, systemClock } from '@cni-offload/sdk'
import { PortBench } from '@cni-offload/testing'
import { type AdapterFixture, adapterSuite, type Tamper } from '@cni-offload/testing/adapter'
import { sriov } from '../src/index.ts'

const openDoor = new Assembler().compute('mov', 0, VERDICT.pass).exit().assemble()

async function setup(): Promise<AdapterFixture> {
  const net = createLinuxNet()
  const bench = await PortBench.create({ net, ports: 6 })
  const stateDir = await mkdtemp(join(tmpdir(), 'sriov-'))
  const options = { netns: bench.dpuNetns }
  const tamper = (title: string, ops: (port: string, result: AttachResult) => readonly NetOp[]): Tamper => ({
    title,
    run: ({ request, result }) => net.apply(bench.dpuNetns, ops(request.port.name, result)),
  })
  return {
    net,
    ports: bench.ports,
    network: 'sriov',
    netconf: {
      cniVersion: '1.1.0',
      name: 'sriov',
      type: 'offload-cni',
      ipam: {
        type: 'pool',
        ranges: [{ subnet: '10.77.0.0/24', rangeStart: '10.77.0.10', rangeEnd: '10.77.0.14' }, { subnet: 'fd00:77::/64' }],
      },
    },
    capacity: 5,
    requestableIps: ['10.77.0.12/24', 'fd00:77::77/64'],
    hostIpam: { ips: [{ address: '198.51.100.7/24' }], routes: [], dns: {} },
    create: () => sriov(options).create({ log: silentLogger, clock: systemClock, stateDir }),
    process: { plugin: { plugin: import.meta.resolve('../src/index.ts'), export: 'sriov', options }, stateDir },
    loseState: () => rm(stateDir, { recursive: true }),
    tampers: [
      tamper('took the port out of the bridge', (dev) => [{ op: 'link.set', dev, master: null }]),
      tamper('took the port down', (dev) => [{ op: 'link.set', dev, up: false }]),
      tamper('changed the MTU', (dev) => [{ op: 'link.set', dev, mtu: 1400 }]),
      tamper('removed what the port enforces', (dev) => [{ op: 'program.clear', dev }]),
      tamper('put another program in its place', (dev) => [{ op: 'program.set', dev, hook: 'ingress', name: 'open', program: openDoor }]),
      tamper('has the port learn addresses', (dev) => [{ op: 'bridge.port', dev, port: { learning: true } }]),
      tamper('has the port flooded', (dev) => [{ op: 'bridge.port', dev, port: { flood: true } }]),
      tamper('untied the pod from its port', (dev, { mac }) => [{ op: 'forward.del', dev, mac }]),
    ],
    async [Symbol.asyncDispose]() {
      await bench[Symbol.asyncDispose]()
      await net[Symbol.asyncDispose]()
      await rm(stateDir, { recursive: true, force: true })
    },
  }
}

adapterSuite({ name: 'sriov', setup })
