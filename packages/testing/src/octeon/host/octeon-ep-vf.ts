import type { FakeKernel } from '../kernel/fake-kernel.ts'
import type { PciDriver } from '../pci/driver.ts'
import type { PciFunction } from '../pci/function.ts'
import { Refusal } from '../system-error.ts'
import type { CardEnvironment } from './environment.ts'
import type { OcteonEp } from './octeon-ep.ts'

/** `octeon_ep_vf`: the host's virtual functions. All that it knows of them it has from the agent, by way of the physical one's driver. */
export class OcteonEpVf implements PciDriver {
  readonly name = 'octeon_ep_vf'
  readonly module = 'octeon_ep_vf'
  readonly ids: readonly string[]
  readonly #kernel: FakeKernel
  readonly #env: CardEnvironment
  readonly #pf: OcteonEp

  constructor(kernel: FakeKernel, env: CardEnvironment, ids: readonly string[], pf: OcteonEp) {
    this.#kernel = kernel
    this.#env = env
    this.ids = ids
    this.#pf = pf
  }

  async probe(fn: PciFunction): Promise<void> {
    const { control, netdevs } = this.#env
    const config = control.config.vfs.get(fn.index)
    if (fn.pf === undefined || !this.#pf.serves(fn.pf) || config === undefined) {
      this.#say(fn, 'unable to get fw info')
      this.#say(fn, 'Device probe failed')
      throw new Refusal('EIO')
    }
    const name = `enp1s0v${fn.index}`
    await netdevs.create({ side: 'host', wire: wireOf(fn), name, mac: config.mac, pci: fn.address })
    fn.hasNetdev = true
    this.#say(fn, 'Device probe successful')
    this.#kernel.log.add(`${this.name} ${fn.address} ${name}: renamed from eth0`)
  }

  async remove(fn: PciFunction): Promise<void> {
    fn.hasNetdev = false
    await this.#env.netdevs.remove('host', wireOf(fn))
  }

  #say(fn: PciFunction, text: string): void {
    this.#kernel.log.of(this.name, fn.address, text)
  }
}

const wireOf = ({ index }: PciFunction): string => `sdp${index + 1}`
