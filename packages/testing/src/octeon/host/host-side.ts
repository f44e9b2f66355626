import type { NetnsPath } from '@cni-offload/linux'
import { type Disk, emptyDisk, FakeOcteonMachine } from '../fake-machine.ts'
import { FakeKernel } from '../kernel/fake-kernel.ts'
import { type FunctionSpec, PciFunction } from '../pci/function.ts'
import { plainDriver } from '../dpu/rvu-drivers.ts'
import { type OcteonPart, type OcteonRevision, PART_CODE } from '../dpu/layout.ts'
import type { CardEnvironment } from './environment.ts'
import { HOST_PF } from './host-pf.ts'
import { OcteonEp } from './octeon-ep.ts'
import { OcteonEpVf } from './octeon-ep-vf.ts'

/** The least that the configuration space of a card says for its functions, whatever its firmware gives. */
const TOTAL_VFS = 64

/** How a fake host is made. */
export interface HostSideOptions {
  readonly part: OcteonPart
  readonly revision: OcteonRevision
  readonly iommu: boolean
  readonly sharedGroups: readonly (readonly string[])[]
  readonly netns?: NetnsPath
}

/** The server that a card is plugged into. */
export class HostSide {
  readonly machine: FakeOcteonMachine
  readonly kernel: FakeKernel
  readonly #functions: readonly FunctionSpec[]

  constructor(env: CardEnvironment, options: HostSideOptions) {
    const code = PART_CODE[options.part]
    this.kernel = new FakeKernel({
      ...options,
      side: 'host',
      hostname: 'worker2',
      release: '6.8.0-59-generic',
      clock: env.clock,
      netdevs: env.netdevs,
      memoryKb: 65_536_000,
      hugepageKb: 2_048,
      modules: (kernel) => {
        const pf = new OcteonEp(kernel, env, [`177d:${code}00`])
        const vf = new OcteonEpVf(kernel, env, [`177d:${code}03`], pf)
        const greeting = ['octeon_ep: Loading Marvell Octeon EndPoint NIC Driver ...', 'octeon_ep: Loaded successfully !']
        return [
          { name: 'octeon_ep', drivers: [pf], greeting },
          { name: 'octeon_ep_vf', drivers: [vf], greeting: ['octeon_ep_vf: Loaded successfully !'] },
        ]
      },
    })
    this.#functions = hostFunctions(code, options.revision, env.vfs)
    const disk: Disk = emptyDisk(() => this.kernel)
    const { netns } = options
    this.machine = new FakeOcteonMachine({
      kernel: this.kernel,
      turnstile: env.turnstile,
      disk,
      ...(netns === undefined ? {} : { netns }),
    })
  }

  /** Functions and built-in drivers appear; modules are loaded by whoever sets the host up. */
  async boot(): Promise<void> {
    await this.kernel.bus.register(plainDriver('pcieport', undefined, ['8086:1901']))
    for (const spec of this.#functions) await this.kernel.bus.add(new PciFunction(spec))
  }

  /** Everything that a boot begins without is gone. */
  async halt(): Promise<void> {
    const { bus, modules } = this.kernel
    for (const fn of bus.functions) if (fn.pf === undefined) await bus.remove(fn)
    await modules.unloadAll()
    this.kernel.restart()
    await this.machine.wipeVolatile()
  }
}

function hostFunctions(code: string, revision: OcteonRevision, vfs: number): readonly FunctionSpec[] {
  const port = {
    address: '0000:00:01.0',
    parent: 'pci0000:00',
    vendor: '8086',
    device: '1901',
    subsystem: '0000',
    class: '060400',
    revision: '07',
  }
  const card: FunctionSpec = {
    address: HOST_PF,
    parent: 'pci0000:00/0000:00:01.0',
    vendor: '177d',
    device: `${code}00`,
    subsystem: `${code}00`,
    class: '028000',
    revision,
    sriov: { total: Math.max(TOTAL_VFS, vfs), offset: 16, stride: 1, device: `${code}03` },
  }
  return [port, card]
}
