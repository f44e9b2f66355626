import type { NetnsPath } from '@cni-offload/linux'
import { type Disk, emptyDisk, FakeOcteonMachine } from '../fake-machine.ts'
import type { CardEnvironment } from '../host/environment.ts'
import { FakeKernel } from '../kernel/fake-kernel.ts'
import type { HugepageKb } from '../kernel/hugepages.ts'
import { PciFunction } from '../pci/function.ts'
import { folder, readable } from '../tree/entry.ts'
import { FakeCpt, microcodeFolder } from './cpt.ts'
import { type DpuShape, dpuFunctions } from './layout.ts'
import { octeontx2Sdp, plainDriver, rvuAf, rvuNicPf, rvuNicVf } from './rvu-drivers.ts'

/** Modules that udev loads because their functions are there. */
const AUTOLOADED = ['rvu_af', 'octeontx2_sdp', 'rvu_nicpf', 'rvu_nicvf', 'rvu_cptpf', 'rvu_cptvf', 'octeontx2_dpi'] as const

/** Processor of the whole family: Neoverse N2. */
const MIDR = '0x00000000410fd490\n'

/** How a fake DPU is made. */
export interface DpuSideOptions extends DpuShape {
  readonly hugepageKb: HugepageKb
  readonly microcode: boolean
  readonly sharedGroups: readonly (readonly string[])[]
  readonly netns?: NetnsPath
}

/** Linux on the card. */
export class DpuSide {
  readonly machine: FakeOcteonMachine
  readonly kernel: FakeKernel
  readonly cpt: FakeCpt
  readonly #options: DpuSideOptions

  constructor(env: CardEnvironment, options: DpuSideOptions) {
    this.#options = options
    const disk: Disk = emptyDisk(() => this.kernel)
    let cpt: FakeCpt | undefined
    this.kernel = new FakeKernel({
      side: 'dpu',
      hostname: 'worker2-dpu',
      release: options.firmware === '12.24.09' ? '5.15.72' : '6.1.67',
      clock: env.clock,
      netdevs: env.netdevs,
      iommu: true,
      sharedGroups: options.sharedGroups,
      memoryKb: 41_943_040,
      hugepageKb: options.hugepageKb,
      more: {
        proc: () => ({ crypto: readable(() => this.cpt.procCrypto()) }),
        debug: () => ({ cn10k: folder(() => this.cpt.debugEntries()) }),
        system: () => ({ cpu: folder(cpuEntries) }),
      },
      modules: (kernel) => {
        cpt = new FakeCpt(kernel, options.revision, async (path) => (await disk.tree.lookup(path)) !== undefined)
        return [
          // A slash in a driver's name is no slash in sysfs.
          { name: 'rvu_af', drivers: [rvuAf(kernel, env), plainDriver('Marvell-CGX!RPM', 'rvu_af', ['177d:a060'])] },
          { name: 'octeontx2_sdp', drivers: [octeontx2Sdp(kernel, env)] },
          { name: 'rvu_nicpf', needs: ['rvu_af'], drivers: [rvuNicPf(kernel, env)] },
          { name: 'rvu_nicvf', needs: ['rvu_nicpf'], drivers: [rvuNicVf(env)] },
          { name: 'rvu_cptpf', needs: ['rvu_af'], drivers: [cpt.pfDriver] },
          { name: 'rvu_cptvf', needs: ['rvu_cptpf'], drivers: [cpt.vfDriver] },
          { name: 'octeontx2_dpi', drivers: [plainDriver('octeontx2-dpi', 'octeontx2_dpi', ['177d:a080'])] },
          { name: 'pcie_marvell_cnxk_ep' },
        ]
      },
    })
    if (cpt === undefined) throw new Error('the kernel has asked for no modules')
    this.cpt = cpt
    const { netns } = options
    this.machine = new FakeOcteonMachine({
      kernel: this.kernel,
      turnstile: env.turnstile,
      disk,
      ...(netns === undefined ? {} : { netns }),
    })
  }

  /** Functions appear, and what udev loads for them. */
  async boot(): Promise<void> {
    const { bus, modules } = this.kernel
    const { revision, microcode } = this.#options
    const folderOfMicrocode = microcodeFolder(revision)
    for (const engine of microcode ? ['ae', 'se', 'ie'] : [])
      await this.machine.place(`${folderOfMicrocode}/${engine}.out`, `${engine} microcode\n`)
    await bus.register(plainDriver('pcieport', undefined, ['177d:a002']))
    for (const spec of dpuFunctions(this.#options)) await bus.add(new PciFunction(spec))
    for (const name of AUTOLOADED) if (name !== 'octeontx2_sdp' || this.#options.layout === 'sdp') await modules.load(name)
  }
}

function cpuEntries(): ReturnType<FakeCpt['debugEntries']> {
  const identification = folder(() => ({ midr_el1: readable(MIDR) }))
  return {
    online: readable('0-23\n'),
    possible: readable('0-23\n'),
    cpu0: folder(() => ({ regs: folder(() => ({ identification })) })),
  }
}
