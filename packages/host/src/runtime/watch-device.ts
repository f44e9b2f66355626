import { type Clock, type DeviceEvent, formatVfId, type HostDevice, type Logger } from '@cni-offload/sdk'
import type { AttachmentJournal } from '../journal/types.ts'

const RETRY_MS = 1_000

/** What {@link watchDevice} works with. */
export interface WatchDeps {
  /** Hardware. */
  readonly device: HostDevice
  /** Journal. */
  readonly journal: Pick<AttachmentJournal, 'syncVfs' | 'setHealth'>
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
  /** Ends it. */
  readonly signal: AbortSignal
}

/** Takes over what happens to the hardware until the signal aborts: VFs that are not healthy are not leased. */
export async function watchDevice(deps: WatchDeps): Promise<void> {
  const { device, clock, log, signal } = deps
  while (!signal.aborted) {
    try {
      for await (const event of device.watch(signal)) await note(deps, event)
      // A backend without events ends at once; asking it again would be a busy loop.
      return
    } catch (error) {
      if (signal.aborted) return
      log.error({ err: error, device: device.name }, 'events of the hardware were lost')
      await clock.sleep(RETRY_MS, signal).catch(() => {})
    }
  }
}

async function note({ device, journal, log, signal }: WatchDeps, event: DeviceEvent): Promise<void> {
  switch (event.kind) {
    case 'vf-health':
      log[event.health === 'healthy' ? 'info' : 'error'](
        { vf: formatVfId(event.vf), health: event.health, reason: event.reason },
        'VF health',
      )
      return journal.setHealth(event.vf, event.health)
    case 'device-lost':
      log.error({ device: event.device, reason: event.reason }, 'device lost')
      return journal.setHealth({ device: event.device }, 'unhealthy')
    case 'device-back':
      log.info({ device: event.device }, 'device back')
      return journal.syncVfs(await device.discover({ signal, log }))
  }
}
