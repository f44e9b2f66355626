import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import { bindVfio, type VfioBinding } from '@cni-offload/linux/pci'
import { type Clock, OffloadError, systemClock } from '@cni-offload/sdk'
import { uniqueName } from '../unique-name.ts'
import { Background } from './background.ts'
import type { FakeCpt } from './dpu/cpt.ts'
import { DpuSide } from './dpu/dpu-side.ts'
import { type DpuFirmware, type DpuLayout, type OcteonPart, type OcteonRevision, SDP_LIMIT } from './dpu/layout.ts'
import type { FakeOcteonMachine } from './fake-machine.ts'
import { type CardEnvironment, type HostDriverFlavour, PF_WIRE } from './host/environment.ts'
import { HOST_PF } from './host/host-pf.ts'
import { HostSide } from './host/host-side.ts'
import { FakeVfAdmin, type VfAdminBehaviour } from './host/vf-admin.ts'
import { netOfHost } from './host/vf-net.ts'
import type { FakeProcess } from './kernel/processes.ts'
import type { HugepageKb } from './kernel/hugepages.ts'
import { prepareDpu, prepareHost } from './preparation.ts'
import { Turnstile } from './turnstile.ts'
import { shippedConfig } from './wire/agent-config.ts'
import { AgentSession } from './wire/agent-session.ts'
import { ControlPlane } from './wire/control-plane.ts'
import type { Netdevs } from './wire/netdevs.ts'
import { PaperNetdevs } from './wire/paper-netdevs.ts'
import { VethNetdevs } from './wire/veth-netdevs.ts'

/** A fake card. */
export interface FakeOcteonCardOptions {
  /** Kernel access, for interfaces that are real; without, they exist only in the fake's files. */
  readonly net?: LinuxNet
  /** Network namespace of the host; needed with `net`. */
  readonly hostNetns?: NetnsPath
  /** Network namespace of the DPU; needed with `net`. */
  readonly dpuNetns?: NetnsPath
  /**
   * Name of the namespace that stands for the inside of the card, for those who want to clear away what a killed process has left: a card
   * of the same name does. A unique one by default.
   */
  readonly siliconName?: string
  /** Functions that the firmware gives the host: 1 to 61 in layout `af`, 1 to 127 in `sdp`. @defaultValue 8 */
  readonly vfs?: number
  /** Where the DPU's packet interfaces hang. @defaultValue 'af' */
  readonly layout?: DpuLayout
  /** Firmware. @defaultValue '12.25.03' */
  readonly firmware?: DpuFirmware
  /** The host's driver. @defaultValue 'upstream' */
  readonly hostDriver?: HostDriverFlavour
  /**
   * What that makes of settings of VFs (`IFLA_VF_*`), for drivers to come. By default as it is: the upstream one knows none of them and does not
   * tell of VFs, the one out of the tree answers success to all and does nothing. {@link FakeOcteonCard.hostNet} has to be used.
   */
  readonly vfAdmin?: VfAdminBehaviour
  /** Part of the family. @defaultValue 'cn106xx' */
  readonly part?: OcteonPart
  /** Pass of the chip: A0, A1 or B0. @defaultValue '51' */
  readonly revision?: OcteonRevision
  /**
   * How far the machines are set up: `prepared` as the facts of a running system are, `fresh` as they boot: no module of the card on the
   * host, nothing bound to vfio and no huge page on the DPU. @defaultValue 'prepared'
   */
  readonly state?: 'prepared' | 'fresh'
  /**
   * Who is the control agent: `steady` is one that runs without fail, `none` leaves it to {@link FakeOcteonCard.control} or to a fake
   * agent that is a process. @defaultValue 'steady'
   */
  readonly agent?: 'steady' | 'none'
  /** Milliseconds after which each virtual function of the host appears; 0 for at once, within the write. @defaultValue 0 */
  readonly vfDelayMs?: number
  /** Size of a huge page of the DPU, KiB. @defaultValue 32768 */
  readonly hugepageKb?: HugepageKb
  /** Whether the DPU has the microcode of its crypto engine. @defaultValue true */
  readonly microcode?: boolean
  /** Whether the host has an IOMMU. @defaultValue true */
  readonly hostIommu?: boolean
  /** PCI addresses that an IOMMU cannot keep apart, on either side. None by default. */
  readonly sharedGroups?: readonly (readonly string[])[]
  /** Time. The machine's own by default. */
  readonly clock?: Clock
}

/**
 * A card of the OCTEON family, the server that it is plugged into, and Linux on it: two machines that behave as real ones in all that
 * files and commands show, with interfaces that really carry frames from one to the other (see {@link VethNetdevs} for what differs).
 */
export class FakeOcteonCard implements AsyncDisposable {
  /** What the host's drivers see of the control agent. */
  readonly control: ControlPlane
  readonly #options: FakeOcteonCardOptions
  readonly #env: CardEnvironment
  readonly #background: Background
  readonly #hostSide: HostSide
  readonly #dpuSide: DpuSide

  private constructor(options: FakeOcteonCardOptions, env: CardEnvironment, background: Background, hostSide: HostSide, dpuSide: DpuSide) {
    this.#options = options
    this.control = env.control
    this.#env = env
    this.#background = background
    this.#hostSide = hostSide
    this.#dpuSide = dpuSide
  }

  /** Plugs a card in and boots both machines. @throws OffloadError INVALID_CONFIG for a number of functions that the layout cannot have */
  static async create(options: FakeOcteonCardOptions = {}): Promise<FakeOcteonCard> {
    const { layout = 'af', firmware = '12.25.03', vfs = 8, part = 'cn106xx', revision = '51', clock = systemClock } = options
    checkVfs(vfs, layout)
    const turnstile = new Turnstile()
    const netdevs = await netdevsOf(options, turnstile)
    const background = new Background()
    const control = new ControlPlane(clock)
    const { vfDelayMs = 0, hostDriver = 'upstream', sharedGroups = [], hugepageKb = 32_768, microcode = true } = options
    const vfAdmin = new FakeVfAdmin(hostDriver, () => host.kernel.bus.function(HOST_PF)?.vfs.length ?? 0, options.vfAdmin)
    const env: CardEnvironment = { clock, control, netdevs, turnstile, background, vfs, vfDelayMs, hostDriver, vfAdmin }
    const netnsOf = (netns: NetnsPath | undefined): { netns?: NetnsPath } => (netns === undefined ? {} : { netns })
    const host: HostSide = new HostSide(env, {
      part,
      revision,
      iommu: options.hostIommu ?? true,
      sharedGroups,
      ...netnsOf(options.hostNetns),
    })
    const shape = { layout, firmware, part, revision, vfs }
    const dpu = new DpuSide(env, { ...shape, hugepageKb, microcode, sharedGroups, ...netnsOf(options.dpuNetns) })
    const card = new FakeOcteonCard(options, env, background, host, dpu)
    try {
      await card.#boot(options, firmware, hugepageKb)
      return card
    } catch (error) {
      await card[Symbol.asyncDispose]()
      throw error
    }
  }

  /** The server. */
  get host(): FakeOcteonMachine {
    return this.#hostSide.machine
  }

  /** Linux on the card. */
  get dpu(): FakeOcteonMachine {
    return this.#dpuSide.machine
  }

  /** The crypto engine. */
  get cpt(): FakeCpt {
    return this.#dpuSide.cpt
  }

  /** What the driver of the host's physical function makes of settings of VFs. */
  get vfAdmin(): FakeVfAdmin {
    return this.#env.vfAdmin
  }

  /** Kernel access of the host, with that. @param net - the real one */
  hostNet(net: LinuxNet): LinuxNet {
    const { vfAdmin } = this.#env
    return netOfHost(net, { vfs: async () => vfAdmin.vfs(), set: async (vf, settings) => vfAdmin.set(vf, settings) })
  }

  /** Gives a virtual function of the host to a guest, or takes it back: it cannot be removed meanwhile. */
  assignToGuest(index: number, assigned: boolean = true): void {
    const vf = this.#hostSide.kernel.bus.function(HOST_PF)?.vfs[index]
    if (vf === undefined) throw new OffloadError('NOT_FOUND', `the host has no function ${index}`)
    vf.assigned = assigned
  }

  /** Gives a virtual function of the host to programs with vfio-pci, as whoever sets a host up for DPDK does. It tells how to take it back. */
  async bindVfio(index: number): Promise<VfioBinding> {
    const vf = this.#hostSide.kernel.bus.function(HOST_PF)?.vfs[index]
    if (vf === undefined) throw new OffloadError('NOT_FOUND', `the host has no function ${index}`)
    await this.host.run(['modprobe', 'vfio-pci'], AbortSignal.timeout(MODPROBE_MS))
    return await bindVfio(this.host, vf.address)
  }

  /** Model that the control agent recognises, `cn10ka_a1`. */
  get model(): string {
    const { part = 'cn106xx', revision = '51' } = this.#options
    return `${MODELS[part]}_${PASSES[revision]}`
  }

  /** Somebody acts as the control agent on the DPU from now on, until that is disposed. */
  startAgent(process: Omit<FakeProcess, 'files'>): AgentSession {
    return new AgentSession(this.#dpuSide.kernel, this.control, process)
  }

  /**
   * The host resets the PCI link, nothing else: what a control agent has to get over.
   *
   * @param comesBack - false for a link that the agent cannot set up again: it stays, alive and of no use, as only a new one is any
   */
  perst(comesBack: boolean = true): void {
    this.control.perst(comesBack)
  }

  /** The host boots again: its interfaces, functions and modules are gone, the link is reset, and it finds the card with no driver. */
  async rebootHost(): Promise<void> {
    await this.#env.turnstile.run(async () => {
      await this.#hostSide.halt()
      this.control.perst()
      await this.#hostSide.boot()
    })
    await this.#hostSide.machine.systemd.restart()
  }

  /** Pulls the card out: all interfaces are gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#background[Symbol.asyncDispose]()
    await this.#env.turnstile.run(async () => {
      await this.#env.netdevs[Symbol.asyncDispose]()
    })
  }

  async #boot(
    { state = 'prepared', agent = 'steady', vfs = 8, microcode = true }: FakeOcteonCardOptions,
    firmware: DpuFirmware,
    hugepageKb: number,
  ): Promise<void> {
    await this.host.format()
    await this.dpu.format()
    await this.#env.turnstile.run(async () => {
      await this.#dpuSide.boot()
      await this.#hostSide.boot()
    })
    // The configuration that is shipped has too few functions for the largest cards.
    if (agent === 'steady') this.control.runSteadily(shippedConfig(vfs))
    if (state === 'fresh') return
    await prepareDpu(this.dpu, firmware, hugepageKb, microcode)
    if (agent !== 'steady') return
    await prepareHost(this.host, vfs)
    await this.#env.netdevs.setUp('host', HOST_PF, true)
    await this.#env.netdevs.setCarrier('host', PF_WIRE, true)
  }
}

/** Longest for a module to be loaded, in milliseconds. */
const MODPROBE_MS = 10_000

const MODELS: Readonly<Record<OcteonPart, string>> = { cn106xx: 'cn10ka', cnf105xx: 'cnf10ka', cnf105xxn: 'cnf10kb', cn103xx: 'cn10kb' }

const PASSES: Readonly<Record<OcteonRevision, string>> = { '50': 'a0', '51': 'a1', '54': 'b0' }

function checkVfs(vfs: number, layout: DpuLayout): void {
  const most = SDP_LIMIT[layout] - 1
  if (Number.isInteger(vfs) && vfs >= 1 && vfs <= most) return
  throw new OffloadError('INVALID_CONFIG', `vfs is ${vfs}; in layout ${layout} a card has 1 to ${most} functions for its host`)
}

async function netdevsOf({ net, hostNetns, dpuNetns, siliconName }: FakeOcteonCardOptions, turnstile: Turnstile): Promise<Netdevs> {
  if (net === undefined) return new PaperNetdevs()
  if (hostNetns === undefined || dpuNetns === undefined)
    throw new OffloadError('INVALID_CONFIG', 'a fake card with real interfaces needs hostNetns and dpuNetns')
  return await VethNetdevs.create({
    net,
    netns: { host: hostNetns, dpu: dpuNetns },
    silicon: siliconName ?? uniqueName('octeon'),
    turnstile,
  })
}
