import { describe, expect, it } from 'vitest'
import { type AgentSession, FakeOcteonCard } from '../../src/octeon/index.ts'
import { run } from './support.ts'

const PEM_ADDRESS = '0001:00:10.0'
const start = (card: FakeOcteonCard, pid: number): AgentSession =>
  card.startAgent({ pid, argv: ['/usr/bin/octep_cp_agent', '/etc/cn106xx.cfg'], startTicks: 4_711 })

describe('somebody who acts as the control agent', () => {
  it('gets each function once, and gives it back at its end', async () => {
    await using card = await FakeOcteonCard.create()
    using first = start(card, 7)
    const { group } = first.open(PEM_ADDRESS)
    expect(group).toBeGreaterThan(0)
    {
      using second = start(card, 8)
      expect(second.open(PEM_ADDRESS)).toEqual({ group, problem: 'busy' })
      expect(second.open('0000:06:00.0')).toMatchObject({ problem: 'not-bound' })
      expect(second.open('0009:00:00.0')).toEqual({ problem: 'not-bound' })
    }
    first[Symbol.dispose]()
    using third = start(card, 9)
    expect(third.open(PEM_ADDRESS)).toEqual({ group })
  })

  it('does not get a group of which a driver has another function', async () => {
    await using card = await FakeOcteonCard.create({ sharedGroups: [[PEM_ADDRESS, '0000:06:00.0']] })
    using agent = start(card, 7)
    expect(agent.open(PEM_ADDRESS)).toMatchObject({ problem: 'not-viable' })
    await card.dpu.write('/sys/bus/pci/drivers/octeontx2-dpi/unbind', '0000:06:00.0')
    expect(agent.open(PEM_ADDRESS)).not.toHaveProperty('problem')
  })

  it('takes huge pages as long as there are any', async () => {
    await using card = await FakeOcteonCard.create()
    const free = async (): Promise<string | undefined> => /HugePages_Free: +(\d+)/.exec(await card.dpu.read('/proc/meminfo'))?.[1]
    {
      using agent = start(card, 7)
      expect([agent.takePages(3), await free(), agent.takePages(6)]).toEqual([true, '5', false])
      await card.dpu.write('/proc/sys/vm/nr_hugepages', '0')
      expect(await card.dpu.read('/proc/sys/vm/nr_hugepages')).toBe('3\n')
    }
    expect(await free()).toBe('3')
  })

  it('is a process of the DPU, with the time of its start where that belongs', async () => {
    await using card = await FakeOcteonCard.create()
    using _agent = start(card, 7)
    const stat = (await card.dpu.read('/proc/7/stat')).trim()
    expect(stat.split(' ').slice(0, 3)).toEqual(['7', '(octep_cp_agent)', 'S'])
    expect(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]).toBe('4711')
    expect(await run(card.dpu, 'kill', '-9', '7')).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('No such process') })
  })
})
