import { FakeOcteonCard, type FakeOcteonCardOptions } from '@cni-offload/testing/octeon'
import { expect, it } from 'vitest'
import { agentConfigPath, checkAgentConfig, readInventory, type SetupChoice, setupWish, type SetupWish } from '../../src/index.ts'

const wishOn = async (options: FakeOcteonCardOptions, choice: Partial<SetupChoice> = {}): Promise<SetupWish> => {
  await using card = await FakeOcteonCard.create({ state: 'fresh', agent: 'none', ...options })
  return await setupWish(card.dpu, await readInventory(card.dpu), { node: 'n1', device: 'octeon0', ...choice })
}
const vfsOf = ({ config }: SetupWish): number | undefined => checkAgentConfig(config?.text ?? '').config?.pems[0]?.pfs[0]?.vfs.length

it.each([
  ['cn106xx', '/etc/cni-offload/cn106xx.cfg'],
  ['cn103xx', '/etc/cni-offload/cn103-102.cfg'],
  ['cnf105xxn', '/etc/cni-offload/cn105n.cfg'],
] as const)('the configuration is for the chip %s, and for as many functions as there are', async (part, path) => {
  const wish = await wishOn({ part, vfs: 3 })
  expect([wish.config?.path, vfsOf(wish)]).toEqual([path, 3])
})

it('the agent is told of no more functions than it can have', async () => {
  expect(vfsOf(await wishOn({ layout: 'sdp', vfs: 100 }))).toBe(64)
})

it('what is chosen is taken', async () => {
  const heartbeat = { intervalMs: 2_000, missCount: 5 }
  const wish = await wishOn({ vfs: 1 }, { cfg: '/run/x.cfg', heartbeat, addresses: ['10.0.0.1/24'], linkLocal: true, crypto: true })
  expect(wish).toMatchObject({ config: { path: '/run/x.cfg' }, addresses: ['10.0.0.1/24', 'fe80::1/64'], crypto: true })
  expect(wish.config?.text).toMatch(/hb_interval\s*=\s*2000/)
  expect(await wishOn({ vfs: 1 }, { cfg: false })).not.toHaveProperty('config')
})

it('a chip without a configuration is named', () => {
  expect(() => agentConfigPath({ chip: { id: 'zz', part: undefined, family: 'CN10K', stepping: 'A0' } as never })).toThrow(/the chip zz/)
})
