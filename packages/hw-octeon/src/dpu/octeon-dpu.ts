import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import type { Machine } from '@cni-offload/linux/machine'
import {
  type CryptoEngine,
  type DeviceEvent,
  type DpuDevice,
  formatVfId,
  type Logger,
  OffloadError,
  type OpContext,
  type PortRef,
  type VfId,
} from '@cni-offload/sdk'
import { refuseIfAborted } from '@cni-offload/sdk/runtime'
import { type PortTable, portOfVf, type SdpPorts, sdpPorts } from '../map/ports.ts'
import { readInventory } from '../pci/inventory.ts'
import type { ControlPlane } from './control-plane.ts'
import { type PortFunction, portNames } from './port-names.ts'

/** What an {@link OcteonDpu} is made of. */
export interface OcteonDpuDeps {
  /** The DPU. */
  readonly machine: Machine
  /** Kernel access; not disposed by the device. */
  readonly net: LinuxNet
  /** Log. */
  readonly log: Logger
  /** The card's control plane; disposed by the device. */
  readonly controlPlane: ControlPlane
  /** Name of the card, the same on the host. */
  readonly device: string
  /** Namespace of the agent: where ports lie before an adapter moves them. */
  readonly netns: NetnsPath
  /** Which function belongs to which VF, where that cannot be known. */
  readonly table?: PortTable
  /** The card's crypto engine, if it has one. */
  readonly crypto?: CryptoEngine
}

/** The DPU half of an OCTEON: its control plane, and an explicit map from VF to port by PCI functions. */
export class OcteonDpu implements DpuDevice {
  readonly name: string = 'octeon'
  readonly specVersion = 'v1'
  readonly crypto?: CryptoEngine
  readonly #deps: OcteonDpuDeps
  #map: SdpPorts | undefined
  #ports: ReadonlyMap<string, PortRef> = new Map()

  /** Nothing is touched before `start`. */
  constructor(deps: OcteonDpuDeps) {
    this.#deps = deps
    if (deps.crypto !== undefined) this.crypto = deps.crypto
  }

  /**
   * Makes the map, and brings the control plane up. A port whose interface is not there at the moment is logged; it is usable when it has
   * come.
   *
   * @throws OffloadError HARDWARE_FAILURE, NOT_READY, INVALID_CONFIG, CANCELLED
   */
  async start(signal: AbortSignal): Promise<void> {
    refuseIfAborted(signal)
    const { machine, log, controlPlane, table, device } = this.#deps
    const map = sdpPorts(await readInventory(machine), table)
    await controlPlane.start(signal)
    this.#map = map
    await this.#name()
    const missing = this.#functions().filter(({ vf }) => !this.#ports.has(formatVfId(vf)))
    if (missing.length > 0)
      log.warn({ device, missing: missing.map(({ address }) => address) }, 'some ports have no interface at the moment')
    log.info({ device, ports: this.#ports.size, management: map.management, source: map.source }, 'ports are mapped')
  }

  async ports(ctx: OpContext): Promise<PortRef[]> {
    refuseIfAborted(ctx.signal)
    return [...this.#ports.values()]
  }

  async port(vf: VfId, ctx: OpContext): Promise<PortRef> {
    refuseIfAborted(ctx.signal)
    const address = this.#address(vf)
    const known = this.#ports.get(formatVfId(vf))
    if (known !== undefined) return known
    await this.#name()
    const port = this.#ports.get(formatVfId(vf))
    if (port !== undefined) return port
    throw new OffloadError('HARDWARE_FAILURE', `the port of function ${formatVfId(vf)}, ${address}, has no interface on the DPU`, {
      hint: 'See whether it has the driver rvu_nicvf: `offload doctor` lists the ports.',
    })
  }

  /** Loss and return of the control plane. Pods that run keep their network without it; no new one gets one. */
  async *watch(signal: AbortSignal): AsyncIterable<DeviceEvent> {
    const { controlPlane, device } = this.#deps
    let known: boolean | undefined
    for await (const event of controlPlane.events(signal)) {
      const ready = event.kind === 'ready'
      // Whoever listens may have missed something: it is told how things are to begin with.
      if (!ready) yield { kind: 'device-lost', device, reason: event.reason }
      else if (known !== true) yield { kind: 'device-back', device }
      known = ready
    }
  }

  /** Ends a control plane that this device has started. Ports stay. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#deps.controlPlane[Symbol.asyncDispose]()
  }

  async #name(): Promise<void> {
    const { machine, net, netns: home } = this.#deps
    const ports = await portNames({ machine, net, home }, this.#functions())
    // One that has no name now keeps the one that it had.
    this.#ports = new Map([...this.#ports, ...ports.map((port) => [formatVfId(port.vf), port] as const)])
  }

  #functions(): readonly PortFunction[] {
    const { device } = this.#deps
    return (this.#map?.vfs ?? []).map((address, index) => ({ vf: { device, index }, address }))
  }

  #address(vf: VfId): string {
    const { device } = this.#deps
    const hint = 'Compare the options device of the host and of the agent.'
    if (vf.device !== device)
      throw new OffloadError('HARDWARE_FAILURE', `function ${formatVfId(vf)}: the card here is "${device}"`, { hint })
    if (this.#map !== undefined) return portOfVf(this.#map, vf.index)
    throw new OffloadError('HARDWARE_FAILURE', `function ${formatVfId(vf)}: the ports of the card are not mapped yet`, {
      hint: 'start the device first',
    })
  }
}
