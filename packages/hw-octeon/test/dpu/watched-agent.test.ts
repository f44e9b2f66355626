import { silentLogger, systemClock } from '@cni-offload/sdk'
import { FakeOcteonCard } from '@cni-offload/testing/octeon'
import { expect, it } from 'vitest'
import { type ControlPlaneEvent, WatchedAgent } from '../../src/index.ts'

it('does not call a DPU ready on which nobody runs a control agent, and ends with its signal', async () => {
  await using card = await FakeOcteonCard.create({ agent: 'none' })
  let ms = 0
  const clock = {
    ...systemClock,
    sleep: async (): Promise<void> => {
      ms += 1_000
      if (ms > 5_000) stop.abort()
    },
  }
  const stop = new AbortController()
  const watched = new WatchedAgent({ machine: card.dpu, clock, log: silentLogger }, { unit: 'cp.service', sdk: 'auto' })
  const events: ControlPlaneEvent[] = await Array.fromAsync(watched.events(stop.signal))
  expect(events).toEqual([{ kind: 'lost', reason: expect.stringContaining('no process octep_cp_agent') }])
  await expect(watched.start(AbortSignal.abort(new Error('no time')))).rejects.toThrow('no time')
})
