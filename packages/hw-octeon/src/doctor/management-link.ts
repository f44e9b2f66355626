import type { Machine } from '@cni-offload/linux/machine'
import { broken, doubtful, fine, type OcteonFinding, unseen } from './finding.ts'
import type { NetdevState } from './netdev.ts'

const PINGS = 3
/** Seconds: the path over the card takes well below a millisecond. */
const PATIENCE_S = 1

/**
 * Asks the other side over the management link: the host's physical function and its port on the DPU. A carrier shows nothing there, either
 * side has one by itself.
 *
 * @param peer - address of the other side
 */
export async function managementFinding(
  machine: Machine,
  netdev: NetdevState,
  peer: string,
  other: 'host' | 'DPU',
  signal: AbortSignal,
): Promise<OcteonFinding> {
  if (!netdev.up) return broken(`${netdev.name} is down`, 'nothing goes over it', `ip link set ${netdev.name} up`)
  const family = peer.includes(':') ? ['-6'] : []
  const argv = ['ping', ...family, '-n', '-q', '-c', String(PINGS), '-i', '0.2', '-W', String(PATIENCE_S), '-I', netdev.name, peer] as const
  const outcome = await machine.run(['ping', ...argv.slice(1)], signal).catch(() => undefined)
  signal.throwIfAborted()
  if (outcome === undefined) return unseen('there is no ping on this machine', 'Install iputils-ping.')
  const received = Number(/(\d+) (?:packets )?received/.exec(outcome.stdout)?.[1] ?? '0')
  const seen = `${received} of ${PINGS} echoes of ${peer} over ${netdev.name}`
  if (received === PINGS) return fine(seen)
  if (received > 0) return doubtful(seen, 'some were lost', `See the load of both sides, and errors of ${netdev.name} (ip -s link).`)
  const said = outcome.stderr.trim().split('\n')[0] ?? ''
  return broken(
    seen,
    said === '' ? `the ${other} does not answer` : said,
    `Has each side an address of one network (offload octeon setup; ip address), is its interface up, and does the ${other} run?`,
  )
}
