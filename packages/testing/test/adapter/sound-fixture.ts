import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import { silentLogger, systemClock } from '@cni-offload/sdk'
import { hello } from '../../../../examples/hello-adapter/src/index.ts'
import type { AdapterFixture } from '../../src/adapter/index.ts'
import { PortBench } from '../../src/index.ts'

const BRIDGE = 'hello0'
const HELLO = import.meta.resolve('../../../../examples/hello-adapter/src/index.ts')

/** A fixture that mutants can reach behind. */
export interface SoundFixture extends AdapterFixture {
  /** Namespace of the ports and of the bridge. */
  readonly dpuNetns: NetnsPath
  /** The adapter's bridge. */
  readonly bridge: string
}

/** The example adapter with a pool of 5 addresses and 6 ports: sound, so that what is broken is only what a test breaks. */
export async function soundFixture(net: LinuxNet): Promise<SoundFixture> {
  const bench = await PortBench.create({ net, ports: 6 })
  const stateDir = await mkdtemp(join(tmpdir(), 'adapter-kit-'))
  const options = {
    bridge: BRIDGE,
    netns: bench.dpuNetns,
    pools: { ipv4: { subnet: '10.88.0.0/29' }, ipv6: { subnet: 'fd00:88::/64' } },
  }
  const plugin = hello(options)
  return {
    net,
    dpuNetns: bench.dpuNetns,
    bridge: BRIDGE,
    ports: bench.ports,
    network: 'podnet',
    netconf: { cniVersion: '1.1.0', name: 'podnet', type: 'offload-cni' },
    create: () => plugin.create({ log: silentLogger, clock: systemClock, stateDir }),
    loseState: () => rm(stateDir, { recursive: true }),
    process: { plugin: { plugin: HELLO, export: 'hello', options }, stateDir },
    capacity: 5,
    tampers: [
      {
        title: 'took the port out of the bridge',
        run: ({ request }) => net.apply(bench.dpuNetns, [{ op: 'link.set', dev: request.port.name, master: null }]),
      },
      {
        title: 'took the port down',
        run: ({ request }) => net.apply(bench.dpuNetns, [{ op: 'link.set', dev: request.port.name, up: false }]),
      },
    ],
    async [Symbol.asyncDispose]() {
      await bench[Symbol.asyncDispose]()
      await rm(stateDir, { recursive: true, force: true })
    },
  }
}
