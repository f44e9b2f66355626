import { systemClock } from '@cni-offload/sdk'
import { FakeOcteonCard, type FakeOcteonCardOptions } from '@cni-offload/testing/octeon'
import { describe, expect, it } from 'vitest'
import { type CryptoAction, cryptoLines } from '../../src/octeon/crypto.ts'

describe('offload octeon crypto', { timeout: 60_000 }, () => {
  const on = async (options: FakeOcteonCardOptions) => {
    const card = await FakeOcteonCard.create({ vfs: 1, ...options })
    const deps = { machine: card.dpu, clock: systemClock, associations: () => [] }
    return { card, run: (action: CryptoAction) => cryptoLines(action, deps, AbortSignal.timeout(30_000)) }
  }

  it('says what would be changed, does it, shows what came of it, and undoes it', async () => {
    const { card, run } = await on({ state: 'fresh' })
    await using _card = card
    const before = await card.dpu.snapshot('/sys')
    expect(await run('show')).toContain('0002:20:00.0: the kernel has no function of it')
    expect(await run('plan')).toEqual(['/sys/bus/pci/devices/0002:20:00.0/sriov_numvfs: 0 → 1'])
    expect(await card.dpu.snapshot('/sys')).toEqual(before)
    expect(await run('enable')).toEqual(['0002:20:00.0: the kernel has 0002:20:00.1'])
    expect(await run('enable')).toEqual(['0002:20:00.0: the kernel has 0002:20:00.1, as before'])
    expect(await run('plan')).toEqual(['nothing to change: the kernel has a function'])
    expect(await run('show')).toEqual([
      expect.stringMatching(/^CN106xx A1: /),
      '0002:20:00.0: the kernel has 0002:20:00.1',
      expect.stringMatching(/^\d+ requests, of whomever$/),
    ])
    expect(await run('disable')).toEqual(['0002:20:00.0: the kernel has no function of it any more'])
    expect(await run('plan')).not.toEqual(['nothing to change: the kernel has a function'])
  })

  it('names the microcode that is missing', async () => {
    const { card, run } = await on({ state: 'fresh', microcode: false })
    await using _card = card
    await expect(run('enable')).rejects.toMatchObject({ message: expect.stringContaining('cpt04') })
  })

  it('says that a host has none', async () => {
    await using card = await FakeOcteonCard.create({ vfs: 1 })
    const deps = { machine: card.host, clock: systemClock, associations: () => [] }
    await expect(cryptoLines('show', deps, AbortSignal.timeout(30_000))).rejects.toMatchObject({
      code: 'NOT_FOUND',
      hint: expect.stringContaining('on the DPU'),
    })
  })
})
