import type { AttachmentKey, PortRef } from '@cni-offload/sdk'

/** The agent's end of a device. */
export interface AgentEnd {
  /** Name. */
  readonly name: string
  /** Index. */
  readonly index: number
  /** MAC. */
  readonly mac: string
}

/** The device of one attachment, over which the agent makes its endpoint. */
export interface EndpointDevice {
  /** Makes sure that the port is there and that nobody else has it. @throws OffloadError ALREADY_EXISTS, HARDWARE_FAILURE */
  assertFree(): Promise<void>
  /** Makes the device anew, not yet connected: nothing of the pod gets to the agent before it has its programs in place. */
  make(mac: string, mtu: number): Promise<AgentEnd>
  /** The agent's end; undefined if there is none. */
  agentEnd(): Promise<AgentEnd | undefined>
  /** Connects the port. @param mac - that the pod has in the end */
  open(mac: string): Promise<void>
  /** Connects the port again where the endpoint is in order and the device is not. @returns false if both have to be made anew */
  reopen(mac: string): Promise<boolean>
  /** Cuts the port off. A device that serves another attachment by now is left alone, here and in `remove`. */
  close(): Promise<void>
  /** Removes the device, cutting the port off first, and leaves the port neutral. One that is gone is success. */
  remove(): Promise<void>
  /** What keeps frames from flowing, or differs from what the pod was told; undefined if nothing does. */
  problem(expected: { readonly mac: string; readonly mtu: number }): Promise<string | undefined>
}

/** An attachment whose frames flow. */
export interface Connected {
  /** The attachment. */
  readonly key: AttachmentKey
  /** The agent's end of its device; undefined if that alone is gone. */
  readonly agentEnd: AgentEnd | undefined
}

/** The devices of one kind, and the ports that they are made for. */
export interface EndpointDevices {
  /** The device of an attachment; it need not exist yet. */
  of(key: AttachmentKey, port: PortRef): EndpointDevice
  /**
   * Gets to know a port, and undoes what devices of another kind have left of it: those of an earlier configuration of the same adapter.
   *
   * @param holders - the adapter's attachments that have the port
   */
  meet(port: PortRef, holders: readonly AttachmentKey[]): Promise<void>
  /** Takes a port that is nobody else's. @throws OffloadError HARDWARE_FAILURE when it is nowhere */
  take(port: PortRef): Promise<void>
  /** Gives a port back that others may attach, too, unless a device has it. */
  giveBack(port: PortRef): Promise<void>
  /** The port that an attachment has, by what is noted in the kernel. @param also - a port to look at besides those that were seen */
  holder(key: AttachmentKey, also: PortRef | undefined): Promise<PortRef | undefined>
  /** Attachments whose frames flow. @param candidates - keys that a note may stand for by its hash */
  connected(candidates: readonly AttachmentKey[]): Promise<Connected[]>
}
