import { readInventory } from '@cni-offload/hw-octeon'
import { FakeOcteonCard } from '@cni-offload/testing/octeon'
import { expect, it } from 'vitest'
import { inventoryPage, inventoryView } from '../../src/octeon/inventory.ts'

it('shows the functions of a DPU, and which port belongs to which VF', { timeout: 60_000 }, async () => {
  await using card = await FakeOcteonCard.create({ vfs: 2 })
  const inventory = await readInventory(card.dpu)
  const lines = inventoryPage(inventory).split('\n')
  expect(lines[0]).toBe('dpu: CN106xx A1, layout af')
  expect(lines).toContainEqual(
    expect.stringMatching(/^ {2}0002:01:00\.1 +177d:a0f7 +SDP vf +rvu_nicvf +enP2p1s0v0 +the host's physical function$/),
  )
  expect(lines).toContainEqual(expect.stringMatching(/^ {2}0002:01:00\.3 .* VF 1$/))
  expect(lines.filter((line) => line.startsWith('!'))).toEqual([])
  const view: unknown = JSON.parse(JSON.stringify(inventoryView(inventory)))
  expect(view).toMatchObject({
    side: 'dpu',
    ports: { management: '0002:01:00.1', vfs: ['0002:01:00.2', '0002:01:00.3'], source: 'virtfn' },
  })
})

it('shows what is wrong with a host, and that a machine has no card', { timeout: 60_000 }, async () => {
  await using card = await FakeOcteonCard.create({ vfs: 1, state: 'fresh' })
  const page = inventoryPage(await readInventory(card.host))
  expect(page).toMatch(/^host: CN106xx A1\n/)
  expect(page).toContain('! no driver has 0000:01:00.0\n  → modprobe octeon_ep')
  const none = inventoryPage({ side: undefined, layout: undefined, chip: undefined, functions: [], unknown: [], problems: [] })
  expect(none).toBe('no card\n')
})

it('shows why there is no map of ports', () => {
  const page = inventoryPage({ side: 'dpu', layout: undefined, chip: undefined, functions: [], unknown: [], problems: [] })
  expect(page).toMatch(/^dpu: unknown chip\n! no map of ports: there is no function 177d:a0f7/)
})
