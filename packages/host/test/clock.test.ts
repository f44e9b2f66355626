import { type Clock, systemClock } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { eventually, HostLab } from './support/lab.ts'

const DAY = 86_400_000

describe.skipIf(process.getuid?.() !== 0)('a wall clock that jumps (needs root: makes network namespaces and links)', () => {
  it('by a day or ten years, ahead or back, loses, delays and ends nothing', async () => {
    let offset = 0
    const clock: Clock = { ...systemClock, now: () => systemClock.now() + offset }
    await using lab = await HostLab.start({ vfs: 2, host: { clock } })
    for (const jump of [DAY, -2 * DAY, 3652 * DAY, -7304 * DAY]) {
      await using one = await lab.pod('one')
      await using two = await lab.pod('two')
      const added = await lab.call('ADD', one)
      expect(added.exitCode).toBe(0)
      offset += jump
      expect(await lab.call('CHECK', one, { netconf: { prevResult: JSON.parse(added.output) } })).toEqual({ exitCode: 0, output: '' })
      expect((await lab.call('ADD', two)).exitCode).toBe(0)
      lab.agent.become('unreachable')
      await eventually(async () => !(await lab.inspect()).agent.connected, 'the loss is noticed')
      expect(await lab.call('DEL', two)).toEqual({ exitCode: 0, output: '' })
      offset -= jump / 2
      await lab.stopHost()
      await lab.startHost()
      expect((await lab.inspect()).attachments).toMatchObject([{ key: { containerId: one.containerId }, phase: 'wired' }])
      lab.agent.become('ready')
      await eventually(async () => (await lab.inspect()).queue.length === 0, 'the queue is delivered')
      expect(await lab.call('DEL', one)).toEqual({ exitCode: 0, output: '' })
      expect(await lab.remains()).toEqual([])
    }
  }, 60_000)
})
