import type { NetdevRef, PortRef, VfId, VfSettings, VirtualFunction } from '../domain/vf.ts'
import type { VfAdminSettings } from '../domain/vf-admin.ts'
import type { OpContext } from './context.ts'

/** Something that happened to a device or one of its functions. */
export type DeviceEvent =
  | { readonly kind: 'vf-health'; readonly vf: VfId; readonly health: 'healthy' | 'unhealthy'; readonly reason: string }
  | { readonly kind: 'device-lost'; readonly device: string; readonly reason: string }
  | { readonly kind: 'device-back'; readonly device: string }

/** The host half of a hardware backend: the VFs of this host. */
export interface HostDevice {
  /** Name of the backend. */
  readonly name: string
  /** Version of this contract. */
  readonly specVersion: 'v1'
  /** All VFs, also those that are inside pods at the moment. */
  discover(ctx: OpContext): Promise<VirtualFunction[]>
  /**
   * Makes a VF ready to be moved into a pod, unless a userspace driver has it ({@link VirtualFunction.userspace}), which nobody asks for: it lies in the host's namespace, is down, has the wanted settings (read
   * back), carries no address.
   *
   * @throws OffloadError HARDWARE_FAILURE when the function does not exist or a setting did not stick
   */
  acquire(vf: VfId, want: VfSettings, ctx: OpContext): Promise<NetdevRef>
  /**
   * Has the VF's physical function make settings, each read back, whatever namespace the VF is in. Idempotent: what is so already is not
   * touched. What the settings were before the first call is remembered, over crashes too, until {@link HostDevice.release} has brought
   * them back. There wherever `capabilities.admin` of a VF names something.
   *
   * @throws OffloadError HARDWARE_FAILURE naming each setting that was refused or only pretended; the rest is made
   */
  configure?(vf: VfId, settings: VfAdminSettings, ctx: OpContext): Promise<void>
  /**
   * Which of the settings are not so, as readable phrases; none if the physical function has them all. There where
   * {@link HostDevice.configure} is.
   *
   * @throws OffloadError HARDWARE_FAILURE when the physical function cannot be asked
   */
  deviations?(vf: VfId, settings: VfAdminSettings, ctx: OpContext): Promise<string[]>
  /**
   * Brings a VF back to its pristine state: host namespace, own name, own MAC, own MTU, down, what its physical function makes of it as
   * before {@link HostDevice.configure}, and nothing left of what a pod can set and the kernel keeps over a move: ARP off, promiscuous,
   * queue length, group, alternative names, … . Idempotent; verified by reading back. `netns` is where the function is believed to be; it
   * may be gone. One that a userspace driver has stays with it: only what its physical function makes of it is brought back.
   *
   * @throws OffloadError HARDWARE_FAILURE when it could not be brought back; the VF must not be leased then
   */
  release(vf: VfId, from: { readonly netns?: string; readonly ifName?: string }, ctx: OpContext): Promise<void>
  /** Events until the signal aborts. */
  watch(signal: AbortSignal): AsyncIterable<DeviceEvent>
  /** Gives up sockets and files. VFs stay as they are. */
  [Symbol.asyncDispose]?(): Promise<void>
}

/**
 * What a crypto engine has counted. It counts either packets or requests, since some time of its own; what it does not count is missing,
 * never 0.
 */
export interface CryptoCounters {
  /** Packets of IPsec that it encrypted or decrypted, and nothing else. */
  readonly packets?: bigint
  /**
   * All that it was asked to do, by whomever: an engine that does not know packets counts so. There is at least one for each packet of
   * IPsec that it took part in, so fewer than packets shows that it did not do all; as many or more shows nothing by itself.
   */
  readonly requests?: bigint
  /** Bytes of the packets. */
  readonly bytes?: bigint
  /** What it failed at, or faults that it has shown. */
  readonly errors: bigint
}

/** IPsec on the DPU, as far as the hardware takes part in it. */
export interface CryptoEngine {
  /**
   * Whether ESP is done inline, by look-aside, or not at all in hardware, as far as it is shown. It may change while the device runs: read
   * it again after {@link CryptoEngine.counters}.
   */
  readonly offload: 'inline' | 'lookaside' | 'none'
  /** What it has counted. */
  counters(): Promise<CryptoCounters>
}

/** The DPU half of a hardware backend: the ports of the host's VFs. */
export interface DpuDevice {
  /** Name of the backend. */
  readonly name: string
  /** Version of this contract. */
  readonly specVersion: 'v1'
  /** Brings the device's control plane up and keeps it up until the signal aborts. Resolves when ports are usable. */
  start(signal: AbortSignal): Promise<void>
  /** All ports that may ever be used. */
  ports(ctx: OpContext): Promise<PortRef[]>
  /**
   * The port of a VF, by an explicit map and never by arithmetic outside the backend.
   *
   * @throws OffloadError HARDWARE_FAILURE when the VF has no port
   */
  port(vf: VfId, ctx: OpContext): Promise<PortRef>
  /** Events until the signal aborts. */
  watch(signal: AbortSignal): AsyncIterable<DeviceEvent>
  /** IPsec capability, where the hardware has one. */
  readonly crypto?: CryptoEngine
  /** Gives up sockets and files. Ports stay. */
  [Symbol.asyncDispose]?(): Promise<void>
}
