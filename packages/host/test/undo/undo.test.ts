import { type HostDevice, OffloadError, silentLogger, systemClock } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import { recover } from '../../src/undo/recover.ts'
import { Undo } from '../../src/undo/undo.ts'
import { untilAborted } from '../support/fake-agent.ts'
import { noIpam } from '../support/ipam.ts'
import { eventually } from '../support/lab.ts'
import { end, leaseOf, RESULT, vfsOf, wire } from '../support/row.ts'

const BOTH = { release: true, detach: true }

/** An undo over a real journal; hardware and agent note what they are asked. */
function world(
  options: {
    removeInfo?: () => void
    identity?: string
    release?: () => Promise<void>
    detach?: (signal: AbortSignal) => Promise<void>
    undoMs?: number
  } = {},
) {
  const journal = new SqliteJournal(':memory:', systemClock)
  journal.syncVfs(vfsOf(3))
  const calls: string[] = []
  const release: HostDevice['release'] = async (vf, from) => {
    calls.push(`release ${vf.index} ${from.ifName} ${from.netns ?? 'nowhere'}`)
    await options.release?.()
  }
  const undo = new Undo({
    journal,
    device: { release } as HostDevice,
    agent: {
      detach: async ({ key, vf }, { signal }) => {
        calls.push(`detach ${key.containerId} ${vf?.index}`)
        await options.detach?.(signal)
      },
    },
    deviceInfo: { remove: async () => options.removeInfo?.() },
    ipam: noIpam(journal).undo,
    net: { netnsIdentity: async () => ('identity' in options ? options.identity : '4:a') },
    limits: { undoMs: options.undoMs ?? 5_000 },
  })
  return { journal, undo, calls, row: journal.lease(leaseOf('a')) }
}

describe('Undo', () => {
  it('undoes both sides at once, and frees the VF when both are done', async () => {
    const [releasing, detaching] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const { journal, undo, calls, row } = world({ release: () => releasing.promise, detach: () => detaching.promise })
    const done = undo.attachment(row, BOTH, silentLogger)
    await eventually(() => calls.length === 2, 'both have begun')
    expect(calls.toSorted()).toEqual(['detach a 0', 'release 0 eth0 /run/netns/a'])
    detaching.resolve()
    await new Promise((resolve) => setImmediate(resolve))
    expect(journal.counts().vfs).toMatchObject({ leased: 1 })
    releasing.resolve()
    expect(await done).toBeUndefined()
    expect(journal.counts()).toMatchObject({ vfs: { free: 3 }, queue: 0 })
  })

  it('touches only the sides that were touched', async () => {
    const { undo, calls, row } = world()
    await undo.attachment(row, { release: false, detach: false }, silentLogger)
    expect(calls).toEqual([])
  })

  it.each([
    ['belongs to another namespace by now', '4:somebody'],
    ['is gone', undefined],
  ])('does not look into a path that %s', async (_what, identity) => {
    const { undo, calls, row } = world({ identity: identity as string })
    await undo.attachment(row, BOTH, silentLogger)
    expect(calls).toContain('release 0 eth0 nowhere')
  })

  it('tells the agent although the VF is stuck, and queues what is left', async () => {
    const { journal, undo, calls, row } = world({ release: () => Promise.reject(new OffloadError('HARDWARE_FAILURE', 'stuck')) })
    expect(await undo.attachment(row, BOTH, silentLogger)).toEqual({ release: true, detach: false, reason: 'HARDWARE_FAILURE: stuck' })
    expect(calls).toHaveLength(2)
    expect(journal.queue()).toMatchObject([{ release: true, detach: false, reason: 'HARDWARE_FAILURE: stuck' }])
  })

  it('notes the end before it touches anything, so that no resync names the attachment again', async () => {
    const phases: (string | undefined)[] = []
    const look = async (): Promise<void> => void phases.push(journal.get(leaseOf('a').intent.key)?.phase)
    const { journal, undo, row } = world({ release: look, detach: look })
    journal.attached(row.key, RESULT)
    await undo.attachment(row, BOTH, silentLogger)
    expect(phases).toEqual(['detaching', 'detaching'])
  })

  it('removes device information first, also when the daemon starts again after it had died', async () => {
    const order: string[] = []
    const { journal, undo } = world({
      removeInfo: () => void order.push('info'),
      release: async () => void order.push('release'),
    })
    await recover(journal, undo, 'boot-1', silentLogger)
    expect(order).toEqual(['info', 'release'])
  })

  it('leaves alone a VF that is no longer the attachment’s', async () => {
    const { journal, undo, calls, row } = world()
    end(journal, row.key)
    expect(await undo.attachment(row, BOTH, silentLogger), 'the row is gone').toBeUndefined()
    const again = journal.lease(leaseOf('a'))
    expect(again.vf).not.toEqual(row.vf)
    expect(await undo.attachment(row, BOTH, silentLogger), 'the key has another VF').toBeUndefined()
    expect(await undo.attachment({ ...again, netnsIdentity: '4:earlier' }, BOTH, silentLogger), 'it is another pod').toBeUndefined()
    expect(calls).toEqual([])
    expect(journal.get(row.key)).toEqual(again)
  })

  it('does only what is left when it tries again', async () => {
    let away = true
    const detach = async (): Promise<void> => {
      if (away) throw new OffloadError('AGENT_UNREACHABLE', 'away')
    }
    const { journal, undo, calls, row } = world({ detach })
    await undo.attachment(row, BOTH, silentLogger)
    expect(await undo.queued(row.key, silentLogger)).toMatchObject({ release: false, detach: true })
    away = false
    expect(await undo.queued(row.key, silentLogger)).toBeUndefined()
    expect(calls.map((call) => call.split(' ')[0]).toSorted()).toEqual(['detach', 'detach', 'detach', 'release'])
    expect(journal.counts()).toMatchObject({ vfs: { free: 3 }, queue: 0 })
  })

  it('does not wait for ever', async () => {
    const { undo, row } = world({ detach: (signal) => untilAborted(signal), undoMs: 20 })
    expect(await undo.attachment(row, BOTH, silentLogger)).toMatchObject({
      detach: true,
      reason: expect.stringContaining('DEADLINE_EXCEEDED'),
    })
  })
})

describe('recover', () => {
  it('undoes what is not complete and what is of another boot, without asking the agent', async () => {
    const { journal, undo, calls } = world()
    for (const [name, bootId] of [
      ['wired', 'boot-1'],
      ['old', 'boot-0'],
    ] as const) {
      wire(journal, leaseOf(name, { bootId }))
    }
    expect(await recover(journal, undo, 'boot-1', silentLogger)).toBe(2)
    expect(calls.map((call) => call.split(' ')[0])).toEqual(['release', 'release'])
    expect(journal.all().map(({ key }) => key.containerId)).toEqual(['wired'])
    expect(journal.queue().map(({ key, release, detach }) => [key.containerId, release, detach])).toEqual([
      ['a', false, true],
      ['old', false, true],
    ])
  })
})
