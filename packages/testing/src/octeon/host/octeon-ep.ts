import type { FakeKernel } from '../kernel/fake-kernel.ts'
import { type PciDriver, ProbeDeferred } from '../pci/driver.ts'
import type { PciFunction } from '../pci/function.ts'
import { Refusal } from '../system-error.ts'
import { type CardEnvironment, PF_WIRE } from './environment.ts'
import { watchHeartbeats } from './heartbeats.ts'

/** How often the vendor's driver looks whether the firmware is ready. */
const FIRMWARE_POLL_MS = 1_000

/** Rings of a function, as the firmware of a CN106 gives them. */
const RINGS = 8n

/** What the driver knows of the function that it has. */
interface Port {
  ready: boolean
  stop: () => void
  stopVfs: () => void
}

/** `octeon_ep`: the host's physical function. */
export class OcteonEp implements PciDriver {
  readonly name = 'octeon_ep'
  readonly module = 'octeon_ep'
  readonly ids: readonly string[]
  readonly #kernel: FakeKernel
  readonly #env: CardEnvironment
  readonly #ports = new Map<PciFunction, Port>()

  constructor(kernel: FakeKernel, env: CardEnvironment, ids: readonly string[]) {
    this.#kernel = kernel
    this.#env = env
    this.ids = ids
  }

  /** Whether it has set the function up and the agent answers: only then virtual functions get what they ask it for. */
  serves(fn: PciFunction): boolean {
    return this.#ports.get(fn)?.ready === true && this.#env.control.answering
  }

  async probe(fn: PciFunction): Promise<void> {
    const { control, hostDriver } = this.#env
    if (hostDriver === 'upstream' && !control.firmwareReady) {
      this.#say(fn, 'Firmware not ready; defer probe.')
      throw new ProbeDeferred()
    }
    this.#ports.set(fn, { ready: false, stop: () => {}, stopVfs: () => {} })
    if (hostDriver === 'out-of-tree') this.#say(fn, 'Device setup task queued')
    this.#say(fn, `Firmware ready status = ${control.firmwareReady ? 1 : 0}`)
    if (control.firmwareReady) await this.#setUp(fn)
    else this.#waitForFirmware(fn)
  }

  async remove(fn: PciFunction): Promise<void> {
    const port = this.#ports.get(fn)
    this.#ports.delete(fn)
    port?.stop()
    port?.stopVfs()
    await this.#kernel.bus.disableVfs(fn)
    this.#env.vfAdmin.reset()
    if (port?.ready !== true) return
    fn.hasNetdev = false
    await this.#env.netdevs.remove('host', PF_WIRE)
    this.#say(fn, 'Sending dev_unload msg to fw')
    this.#kernel.log.add('Octep ctrl mbox : Uninit successful.')
    this.#say(fn, 'CNXKXX: Doing soft reset')
  }

  readonly configureSriov = async (fn: PciFunction, count: number): Promise<number> => {
    const { vfs, vfDelayMs } = this.#env
    const port = this.#ports.get(fn)
    if (port?.ready !== true) throw new Refusal('EAGAIN')
    if (count > vfs) {
      this.#say(fn, `Invalid VF count Max supported VFs = ${vfs}`)
      throw new Refusal('EINVAL')
    }
    if (count === 0) {
      if (fn.vfs.some(({ assigned }) => assigned)) {
        this.#say(fn, "Can't disable SRIOV while VFs are assigned")
        throw new Refusal('EPERM')
      }
      port.stopVfs()
      await this.#kernel.bus.disableVfs(fn)
      this.#env.vfAdmin.reset()
    } else if (vfDelayMs === 0) await this.#kernel.bus.enableVfs(fn, count)
    else port.stopVfs = this.#enableSlowly(fn, count)
    return count
  }

  #enableSlowly(fn: PciFunction, count: number): () => void {
    const { clock, vfDelayMs, turnstile, background } = this.#env
    fn.vfCount = count
    return background.start(async (signal) => {
      while (fn.vfs.length < count) {
        await clock.sleep(vfDelayMs, signal)
        await turnstile.run(async () => {
          if (!signal.aborted) await this.#kernel.bus.addVf(fn)
        })
      }
    })
  }

  #waitForFirmware(fn: PciFunction): void {
    const { clock, control, turnstile, background } = this.#env
    const stop = background.start(async (signal) => {
      while (!control.firmwareReady) await clock.sleep(FIRMWARE_POLL_MS, signal)
      await turnstile.run(async () => {
        if (!signal.aborted) await this.#setUp(fn)
      })
    })
    this.#port(fn).stop = stop
  }

  async #setUp(fn: PciFunction): Promise<void> {
    const { control, netdevs, hostDriver, vfs, background } = this.#env
    const { heartbeatMs, missCount, pf } = control.config
    const registers = (BigInt(vfs) << 48n) | (RINGS << 32n) | RINGS
    for (const text of [
      'Firmware ready status = 1',
      `chip_id = 0x${fn.spec.device}`,
      'Setting up OCTEON CN10KA PF PASS1.0',
      'Octeon device using PCIE Port 0',
      `SDP_EPF_RINFO[0x209f0]:0x${registers.toString(16)}`,
      'SDP_MAC_PF_RING_CTL[0]:0x80001',
      'pf_srn=0 rpvf=8 nvfs=0 rppf=8',
      'Control plane versions host: 10000, firmware: 10000:10000',
      `Heartbeat interval ${heartbeatMs} msecs Heartbeat miss count ${missCount}`,
      hostDriver === 'upstream' ? 'Device probe successful' : 'Device setup successful',
    ])
      this.#say(fn, text)
    await netdevs.create({ side: 'host', wire: PF_WIRE, name: 'enp1s0', mac: pf.mac, pci: fn.address })
    fn.hasNetdev = true
    this.#kernel.log.add(`${this.name} ${fn.address} enp1s0: renamed from eth0`)
    const port = this.#port(fn)
    port.ready = true
    const say = (text: string): void => this.#say(fn, text)
    port.stop = background.start((signal) => watchHeartbeats(this.#env, fn.address, say, signal))
  }

  #port(fn: PciFunction): Port {
    const port = this.#ports.get(fn)
    if (port === undefined) throw new Error(`octeon_ep does not have ${fn.address}`)
    return port
  }

  #say(fn: PciFunction, text: string): void {
    this.#kernel.log.of(this.name, fn.address, text)
  }
}
