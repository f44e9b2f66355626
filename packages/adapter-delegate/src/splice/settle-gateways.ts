import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import { type AttachResult, type Clock, OffloadError } from '@cni-offload/sdk'
import { gatewaysOf, isOneOf } from './gateways.ts'

/** Duplicate address detection takes 1–2 s where nobody has changed its settings. */
const LONGEST_MS = 3000
const PAUSE_MS = 50

/** What the waiting works with. */
export interface SettleDeps {
  /** Kernel access. */
  readonly net: Pick<LinuxNet, 'tentativeAddresses'>
  /** Namespace in which the CNI has its gateways. */
  readonly netns: NetnsPath
  /** Time. */
  readonly clock: Clock
}

/**
 * Waits until the pod's IPv6 gateways answer, as far as they are addresses of the DPU: those of a bridge that has just been made
 * do not before the kernel has made sure that nobody else has them. Gateways elsewhere are not waited for.
 *
 * @returns addresses that still do not answer after 3 s
 * @throws OffloadError CANCELLED or DEADLINE_EXCEEDED when the signal aborts
 */
export async function settleGateways(
  { net, netns, clock }: SettleDeps,
  result: Pick<AttachResult, 'ips' | 'routes'>,
  signal: AbortSignal,
): Promise<string[]> {
  const gateways = gatewaysOf(result).filter((gateway) => gateway.includes(':'))
  if (gateways.length === 0) return []
  const isGateway = isOneOf(gateways)
  const end = clock.monotonic() + LONGEST_MS
  for (;;) {
    const unsettled = (await net.tentativeAddresses(netns)).map((cidr) => cidr.slice(0, cidr.indexOf('/')))
    const left = unsettled.filter(isGateway)
    if (left.length === 0 || clock.monotonic() >= end) return left
    // The kernel tells of the end only to listeners, and a listener for these few would cost more than asking.
    await clock.sleep(PAUSE_MS, signal).catch((reason: unknown) => {
      throw OffloadError.from(reason, 'CANCELLED', `waiting for ${left.join(', ')}`)
    })
  }
}
