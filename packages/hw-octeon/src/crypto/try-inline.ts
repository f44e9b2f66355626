import { randomBytes } from 'node:crypto'
import type { Machine } from '@cni-offload/linux/machine'
import { OffloadError } from '@cni-offload/sdk'
import type { InlineTrial } from './inline.ts'

/** Addresses for documentation: no packet has them, and no policy leads to these associations. */
const PEERS = ['192.0.2.1', '192.0.2.2'] as const
const KEY_AND_SALT_BYTES = 20
const ICV_BITS = '128'

/**
 * Tries what a network interface takes of IPsec: gives it associations with random keys that nothing uses, and removes them at once.
 * Needs iproute2 and CAP_NET_ADMIN.
 *
 * @param netdev - interface of a port (rvu_nicpf); those to the host's functions never take any
 * @throws OffloadError NOT_READY (no `ip` there), CANCELLED, KERNEL_REFUSED (an association that was taken cannot be removed)
 */
export async function tryInline(machine: Machine, netdev: string, signal: AbortSignal): Promise<readonly InlineTrial[]> {
  const trials: InlineTrial[] = []
  for (const mode of ['packet', 'crypto'] as const)
    for (const direction of ['out', 'in'] as const) trials.push(await tryOne(machine, netdev, mode, direction, signal))
  return trials
}

async function tryOne(
  machine: Machine,
  netdev: string,
  mode: InlineTrial['mode'],
  direction: InlineTrial['direction'],
  signal: AbortSignal,
): Promise<InlineTrial> {
  // 0x100 and above: the rest is reserved.
  const spi = `0x${(0x80000000 + randomBytes(3).readUIntBE(0, 3)).toString(16)}`
  const [source, destination] = direction === 'out' ? PEERS : PEERS.toReversed()
  const which = ['src', String(source), 'dst', String(destination), 'proto', 'esp', 'spi', spi]
  const key = `0x${randomBytes(KEY_AND_SALT_BYTES).toString('hex')}`
  const how = ['mode', 'tunnel', 'aead', 'rfc4106(gcm(aes))', key, ICV_BITS, 'offload', mode, 'dev', netdev, 'dir', direction]
  const added = await ip(machine, ['add', ...which, ...how], signal)
  if (!added.ok) return { mode, direction, accepted: false, reason: added.said }
  // Also when somebody gives up right now: it must not stay.
  const removed = await ip(machine, ['delete', ...which], AbortSignal.timeout(REMOVE_WITHIN_MS))
  if (!removed.ok)
    throw new OffloadError('KERNEL_REFUSED', `the association that was tried on ${netdev} stays: ${removed.said}`, {
      hint: `Remove it: ip xfrm state delete ${which.join(' ')}`,
    })
  signal.throwIfAborted()
  return { mode, direction, accepted: true, reason: '' }
}

/** It is a request to the kernel, which answers at once; a second is for a busy machine. */
const REMOVE_WITHIN_MS = 5_000

async function ip(
  machine: Machine,
  args: readonly string[],
  signal: AbortSignal,
): Promise<{ readonly ok: boolean; readonly said: string }> {
  const outcome = await machine.run(['ip', 'xfrm', 'state', ...args], signal).catch((error: unknown) => {
    signal.throwIfAborted()
    throw OffloadError.from(error, 'NOT_READY', 'ip xfrm state')
  })
  const said = outcome.stderr.trim().split('\n').join(' ') || `exit code ${outcome.exitCode ?? outcome.exitSignal}`
  return { ok: outcome.exitCode === 0, said }
}
