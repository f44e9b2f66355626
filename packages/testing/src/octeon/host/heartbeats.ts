import type { Clock } from '@cni-offload/sdk'
import type { ControlPlane } from '../wire/control-plane.ts'
import { isOfFunction } from '../wire/netdevs.ts'
import { type CardEnvironment, PF_WIRE } from './environment.ts'

/** How often it is looked whether somebody takes an interface down and up again that has lost its carrier. */
const REOPEN_POLL_MS = 100

/**
 * What the driver of the host's physical function does about heartbeats: when too many are missed, the upstream one closes the interface
 * and the vendor's takes its carrier away, which comes back when the interface is opened anew. Either way it watches no longer.
 */
export async function watchHeartbeats(env: CardEnvironment, pci: string, say: (text: string) => void, signal: AbortSignal): Promise<void> {
  const { control, netdevs, turnstile, hostDriver } = env
  await untilMissed(env, signal)
  const { missCount } = control.config
  if (hostDriver === 'upstream') {
    say(`Missed ${missCount} heartbeats. Uninitializing`)
    await turnstile.run(() => netdevs.setUp('host', pci, false))
  } else say(`Missed ${missCount} heartbeats. carrier off`)
  // Of the upstream one, too: it cannot be opened as long as no agent answers, which a veth cannot refuse.
  await turnstile.run(() => netdevs.setCarrier('host', PF_WIRE, false))
  await untilReopened(env, pci, signal)
  await turnstile.run(() => netdevs.setCarrier('host', PF_WIRE, true))
}

async function untilMissed({ control, clock }: CardEnvironment, signal: AbortSignal): Promise<void> {
  const { heartbeatMs, missCount } = control.config
  let seen = clock.monotonic()
  for (;;) {
    if (control.steady) {
      await control.changed(signal)
      seen = clock.monotonic()
      continue
    }
    const left = Math.max(control.lastBeat, seen) + heartbeatMs * missCount - clock.monotonic()
    if (left <= 0) return
    await clock.sleep(left, signal)
  }
}

/** Opening asks the agent for the carrier: without one that answers, it stays off. */
async function untilReopened({ control, clock, netdevs, hostDriver }: CardEnvironment, pci: string, signal: AbortSignal): Promise<void> {
  let closed = hostDriver === 'upstream'
  for (;;) {
    await clock.sleep(REOPEN_POLL_MS, signal)
    const link = (await netdevs.links('host')).find((candidate) => isOfFunction(candidate, pci))
    if (link?.up === false) closed = true
    else if (closed && link?.up === true && answers(control, clock)) return
  }
}

/** An agent that hangs is there, and does not answer. */
function answers(control: ControlPlane, clock: Clock): boolean {
  const silentMs = clock.monotonic() - control.lastBeat
  return control.answering && (control.steady || silentMs < 2 * control.config.heartbeatMs)
}
